"""Tests of `sidecar.core.webhooks`."""
