"""Tests of `sidecar.core.access`."""
