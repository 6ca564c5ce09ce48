"""Measurements; see RESULTS.md for the last ones."""
