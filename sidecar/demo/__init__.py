"""
The emulated world for the demo, the tests and load: API, Secrets Manager, script.

Nothing of this is imported by `sidecar run`.
"""
