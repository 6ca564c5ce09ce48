"""Tests of the parts' assembly from settings."""
