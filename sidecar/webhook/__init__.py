"""The webhook receiver: it verifies, deduplicates and forwards deliveries."""
