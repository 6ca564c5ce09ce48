"""The checks of `sidecar check`: each yields findings and prints nothing."""
