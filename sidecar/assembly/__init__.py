"""
From settings to parts: the only place that turns one into the other.

Each part is told by a small frozen object of its own and never sees `Settings`.
"""
