"""The command `sidecar demo`: a leaked key and webhooks, before emulated services."""
