"""The hot path: the service on one side, the API on the other."""
