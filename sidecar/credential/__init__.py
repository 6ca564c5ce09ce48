"""The credential of an upstream: its manager, sources and probe."""
