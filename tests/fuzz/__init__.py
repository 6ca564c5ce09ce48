"""
Fuzzing: the proxy between two streams of bytes that Hypothesis makes up.

`make test` runs a few hundred examples of each property (profile `ci`), the same ones
each time; `make fuzz` runs many thousands, other ones each time (profile `deep`).
"""
