"""Key rotation without a person."""
