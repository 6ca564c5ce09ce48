"""Secrets in memory, and the search for them in everything that leaves the process."""
