"""Tests of `sidecar.aws`."""
