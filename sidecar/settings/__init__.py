"""
Every setting of the sidecar, declared once.

`tables` has one frozen dataclass per TOML table; a part of the sidecar imports its own.
`model` has the whole tree. Neither imports pydantic: only `loading` does, and a running
sidecar gets its settings from a process beside it (`child`).
"""
