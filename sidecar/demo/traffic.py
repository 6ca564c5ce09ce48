"""Clients that call without a pause and count the results."""

import http.client
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Final, Self

BODY: Final = b'{"tags":["lead","demo"]}'
Body = bytes | Sequence[bytes] | None
"""Bytes are sent with Content-Length, a sequence in chunks, None without a body."""
Call = tuple[str, str, Body]
WITHOUT_BODY: Final[Call] = ("GET", "/contacts?limit=5", None)
WITH_BODY: Final[Call] = ("PATCH", "/contacts/c_00001", BODY)
IN_CHUNKS: Final[Call] = ("PATCH", "/contacts/c_00001", (BODY[:9], BODY[9:]))


class Traffic:
    """
    Clients in threads; each sends its next call after the last answer. A context manager.

    Args:
        address: `host:port` of the sidecar.
        clients: the number of clients.
        calls: the calls that each client makes in turn.
    """

    def __init__(
        self,
        address: str,
        clients: int = 4,
        calls: Sequence[Call] = (WITHOUT_BODY, WITH_BODY),
    ) -> None:
        self._calls = calls
        self._address = address
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._loop, args=(n,)) for n in range(clients)
        ]
        self.turns = [0] * clients
        """Calls that each client has finished."""
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        """Status, or name of an exception -> calls."""

    @property
    def calls(self) -> int:
        """Number of calls so far."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """Number of calls that did not end with 2xx."""
        return sum(n for what, n in self.counts.items() if not what.startswith("2"))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _loop(self, client: int) -> None:
        """Run one client."""
        connection = http.client.HTTPConnection(self._address, timeout=10)
        headers = {"Content-Type": "application/json"}
        while not self._stop.is_set():
            method, target, body = self._calls[self.turns[client] % len(self._calls)]
            try:
                connection.request(method, target, body, headers if body else {})
                answer = connection.getresponse()
                answer.read()
                what = str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                what = type(error).__name__
            with self._lock:
                self.counts[what] += 1
                self.turns[client] += 1
        connection.close()
