"""Keeps API keys out of application code: a credential-injecting sidecar."""

__version__ = "0.1.0"
