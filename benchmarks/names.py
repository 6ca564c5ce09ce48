"""What readers are told instead of the words that options and results have."""

from typing import Final

from benchmarks.peers import PEERS

OURS: Final = "ours"
KEY_FILE: Final = "ours, key in a file"
DIRECT: Final = "direct"
"""The same client at the API itself, without TLS: what a call costs anyway."""


def told(name: str) -> str:
    """Return what a reader is told of a proxy, in Markdown."""
    if name == KEY_FILE:
        return "sidecar, key in a file"
    if name == DIRECT:
        return "no proxy, no TLS"
    return PEERS[name].told


def plain(name: str) -> str:
    """Return the same as plain text."""
    return told(name).strip("*")
