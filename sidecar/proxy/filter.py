"""
The reflection guard on one answer: what leaves for the service has no key in it.

A body that is not compressed is masked in place, so its length holds. A compressed one is
only looked into: it cannot be masked, so a key in it ends the answer.
"""

from sidecar.core.secrecy.masking import KeyMatcher, Masker


class AnswerFilter:
    """
    The bytes of one answer's body, in order.

    Args:
        needles: What must not leave.
        coding: The content coding; empty for none.

    Raises:
        Refused: `reflection_blocked`: not a byte more of the answer may leave. Only for
            a compressed one: the key is in it, or nobody can look into it.
    """

    __slots__ = ("_inspector", "_masker")

    def __init__(self, needles: KeyMatcher, coding: bytes) -> None:
        self._masker = None if coding else Masker(needles)
        self._inspector = None
        if coding:
            from sidecar.core.secrecy.compressed import Inspector  # noqa: PLC0415 - rarely needed

            self._inspector = Inspector(needles, coding)

    @property
    def hits(self) -> int:
        """Keys that were overwritten so far."""
        return self._masker.hits if self._masker is not None else 0

    def feed(self, data: bytes) -> bytes:
        """Return what may leave now. Raises `Refused`, as above."""
        if self._masker is not None:
            return self._masker.feed(data)
        assert self._inspector is not None  # noqa: S101 - for the type checker
        return self._inspector.feed(data)

    def flush(self) -> bytes:
        """Return what was held back."""
        if self._masker is not None:
            return self._masker.flush()
        assert self._inspector is not None  # noqa: S101 - for the type checker
        return self._inspector.flush()
