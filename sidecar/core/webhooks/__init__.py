"""Verification of Standard Webhooks deliveries."""
