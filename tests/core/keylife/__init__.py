"""Tests of `sidecar.core.keylife`."""
