"""Tests of `sidecar.core.secrecy`."""
