"""
The reflection guard on one answer: what leaves for the service has no key in it.

A body that is not compressed is masked in place, so its length holds. A compressed one is
only looked into: it cannot be masked, so a key in it ends the answer (`Reflected`).
"""

from sidecar.core.coding import Inspector
from sidecar.core.masking import Masker, Needles


class Reflected(Exception):
    """A compressed answer holds the key: not a byte more of it may leave."""


class AnswerFilter:
    """The bytes of one answer's body, in order."""

    __slots__ = ("_inspector", "_masker", "hits")

    def __init__(self, needles: Needles, coding: bytes) -> None:
        self._masker = None if coding else Masker(needles)
        self._inspector = Inspector(needles, coding) if coding else None
        self.hits = 0

    def feed(self, data: bytes) -> bytes:
        """
        Return what may leave now.

        Raises:
            Reflected: The key is in a compressed body.
        """
        raise NotImplementedError

    def flush(self) -> bytes:
        """
        Return what was held back.

        Raises:
            Reflected: The key is in a compressed body.
        """
        raise NotImplementedError
