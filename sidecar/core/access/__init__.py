"""Which operations the service may call, and what a 401 or 403 means."""
