"""Tests of what measures: that it reads, counts and writes rightly; no figure is tested."""
