"""Webhooks in: verified, deduplicated, delivered."""
