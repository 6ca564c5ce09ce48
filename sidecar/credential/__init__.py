"""The life of a credential: sources, probe, and the keeper that obeys the rules."""
