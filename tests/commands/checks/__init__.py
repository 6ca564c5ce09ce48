"""Tests of what `sidecar check` looks at."""
