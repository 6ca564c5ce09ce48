"""Tests of `sidecar.core.rotation`."""
