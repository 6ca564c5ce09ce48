"""
The bytes of one response as they go to the client: framed for it, and without keys.

Rule 1: a body without content coding is masked in place, so its length stays the same.
Rule 2: a compressed body can be inspected but not masked: a key in it ends the response.
Rule 3: a body that ends with the API's connection is sent in chunks; a client of
HTTP/1.0 cannot read chunks, so its connection ends with the body.
"""

from typing import TYPE_CHECKING

from sidecar.core.http.framing import LAST_CHUNK, encode_chunk
from sidecar.core.http.response_head import ResponseHead
from sidecar.core.secrecy.key_matcher import KeyMatcher
from sidecar.core.secrecy.masking import Masker

if TYPE_CHECKING:
    from sidecar.core.secrecy.compressed import Inspector


class ResponseRelay:
    """
    Frames and filters one response.

    Args:
        head: The head of the response.
        keys: What must not reach the client; None: the reflection guard is off.
        http_1_0: The client speaks HTTP/1.0.

    Raises:
        Refused: `reflection_blocked`; the content coding cannot be decoded.
    """

    __slots__ = ("_chunked", "_filter", "_hits", "_keys", "until_close")

    def __init__(
        self, head: ResponseHead, keys: KeyMatcher | None, *, http_1_0: bool
    ) -> None:
        has_no_length = head.framing is not None and head.framing < 0
        self.until_close = has_no_length and http_1_0
        """The end of the connection is the end of the body."""
        self._chunked = has_no_length and not http_1_0
        self._keys = keys
        self._hits = 0
        self._filter: Masker | Inspector | None = None
        if keys is not None:
            if head.coding and head.framing is not None:
                self._filter = _inspector(keys, head.coding)
            else:
                self._filter = Masker(keys)

    def start(self, fields: list[bytes], body: bytes, *, whole: bool) -> bytes:
        """
        Return the first bytes for the client.

        Args:
            fields: The status line and whole header lines, without the empty line.
            body: What has come of the body.
            whole: That is all of it.

        Raises:
            Refused: `reflection_blocked`; no byte of the response may be sent.
        """
        if self._chunked:
            fields.append(b"Transfer-Encoding: chunked\r\n")
        fields.append(b"\r\n")
        head = b"".join(fields)
        keys = self._keys
        if keys is not None:
            if whole and not self._chunked and isinstance(self._filter, Masker):
                out = head + body
                if not keys.within(out):
                    return out
            masked = keys.mask(head)
            if masked != head:
                self._hits = 1
                head = masked
        return head + self.data(body) + (self.end() if whole else b"")

    def data(self, data: bytes) -> bytes:
        """
        Return what may be sent of the next piece of the body.

        Raises:
            Refused: `reflection_blocked`; no further byte may be sent.
        """
        if self._filter is not None:
            data = self._filter.feed(data)
        return b"".join(encode_chunk(data)) if self._chunked else data

    def end(self) -> bytes:
        """Return what was held back, and the end of the body."""
        tail = self._filter.flush() if self._filter is not None else b""
        return b"".join((*encode_chunk(tail), LAST_CHUNK)) if self._chunked else tail

    def take_hits(self) -> int:
        """Return how many keys were masked since the last call of this method."""
        hits, self._hits = self._hits, 0
        if isinstance(self._filter, Masker):
            hits += self._filter.hits
            self._filter.hits = 0
        return hits


def _inspector(keys: KeyMatcher, coding: bytes) -> "Inspector":
    from sidecar.core.secrecy.compressed import Inspector  # noqa: PLC0415 - rarely needed

    return Inspector(keys, coding)
