"""The life of a key: a state machine that turns events into commands."""
