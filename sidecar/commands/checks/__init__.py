"""What `sidecar check` looks at: each check gives findings and prints nothing."""
