"""An emulated API and a one-command demonstration."""
