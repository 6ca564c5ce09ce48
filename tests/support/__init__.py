"""Fixtures, rigs and fakes that the tests share."""
