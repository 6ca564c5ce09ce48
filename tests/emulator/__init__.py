"""Tests of `sidecar.emulator`."""
