"""Tests of `sidecar.core.http`."""
