"""
Coverage-guided fuzzing of the pure parsers: `python -m tests.support.fuzz_parsers TARGET`.

Optional, by atheris (`pip install atheris`), which is not among the tools of `make test`.
Each target takes any bytes; all it may raise is a refusal of ours. Options of libFuzzer
follow the target: `-max_total_time=60`, a corpus directory.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import httptools

from sidecar.core.http.framing import Chunked
from sidecar.core.http.line_cache import LineCache
from sidecar.core.http.request_head import RequestRules
from sidecar.core.http.response_head import ResponseRules
from sidecar.core.http.target import BaseUrl, check_target, localise
from sidecar.core.secrecy.compressed import Inspector
from sidecar.core.secrecy.key_matcher import KeyMatcher
from sidecar.core.secrecy.masking import Masker
from sidecar.core.secrecy.redaction import Redactor
from sidecar.core.secrecy.secret import Secret, SecretRules, parse_secret
from sidecar.core.webhooks.signing_keys import parse_key
from sidecar.errors import Refused, SecretRejected

KEY: Final = "fln_live_0123456789abcdef"
BASE: Final = BaseUrl.parse("https://api.flownally.com/v1")
NEEDLES: Final = KeyMatcher([Secret(KEY)], "fln_live_")
REQUESTS: Final = RequestRules()
ANSWERS: Final = ResponseRules()
KNOWN: Final = LineCache(ANSWERS)
REDACTOR: Final = Redactor()
REDACTOR.learn(Secret(KEY))


class _Fields:
    """Collects what llhttp finds."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one."""
        self.fields.append((name, value))


def target(data: bytes) -> None:
    """Read a request target, and a Location."""
    with suppress(Refused):
        check_target(data)
    localise(data, BASE)


def chunks(data: bytes) -> None:
    """Read a chunked body in two pieces, and hold that to one piece."""
    told: list[tuple[bytes, bool, bytes]] = []
    for cut in (0, len(data) // 2):
        decoder = Chunked()
        try:
            body = b"".join(decoder.feed(data[:cut]))
            if not decoder.done:
                body += b"".join(decoder.feed(data[cut:]))
                told.append((body, decoder.done, decoder.rest))
        except Refused:
            told.append((b"", False, b""))
    if all(done for _, done, _ in told):
        assert len({body for body, _, _ in told}) <= 1


def request(data: bytes) -> None:
    """Read a request head as the listener does."""
    raw = data.replace(b"\r\n\r\n", b"\r\n") + b"\r\n\r\n"
    found = _Fields()
    with suppress(Refused, httptools.HttpParserError, httptools.HttpParserUpgrade):
        httptools.HttpRequestParser(found).feed_data(raw)
        method, _, rest = raw.partition(b" ")
        head = REQUESTS.read(raw, method, rest.partition(b" ")[0], found.fields)
        assert b"uthorization:" not in head.forward.replace(b"-Authorization", b"")


def answer(data: bytes) -> None:
    """Read an answer's head in both ways that there are."""
    raw = data.replace(b"\r\n\r\n", b"\r\n") + b"\r\n\r\n"
    found = _Fields()
    quick = KNOWN.read(raw, b"GET")
    try:
        httptools.HttpResponseParser(found).feed_data(raw)
        slow = ANSWERS.read(raw, b"GET", found.fields)
    except (Refused, httptools.HttpParserError, httptools.HttpParserUpgrade):
        assert quick is None
    else:
        assert quick is None or quick == slow


def mask(data: bytes) -> None:
    """Mask an answer in two pieces, and hold that to one piece."""
    half = len(data) // 2
    masker = Masker(NEEDLES)
    pieces = masker.feed(data[:half]) + masker.feed(data[half:]) + masker.flush()
    assert pieces == masked_whole(data)
    assert KEY.encode() not in pieces


def masked_whole(data: bytes) -> bytes:
    """Mask an answer that came whole."""
    masker = Masker(NEEDLES)
    return masker.feed(data) + masker.flush()


def inflate(data: bytes) -> None:
    """Look into a compressed answer."""
    for coding in (b"gzip", b"deflate"):
        with suppress(Refused):
            inspector = Inspector(NEEDLES, coding)
            inspector.feed(data)
            inspector.flush()


def redact(data: bytes) -> None:
    """Mask a line of the log."""
    text = REDACTOR.redact(data.decode("latin-1"))
    assert KEY not in text
    assert REDACTOR.redact(text) == text


def secret(data: bytes) -> None:
    """Read the value of a source, and a signing key."""
    text = data.decode("latin-1")
    for read in (
        lambda: parse_secret(data, SecretRules()),
        lambda: parse_secret(text, SecretRules(json_key="a.b")),
        lambda: parse_key(text, "v1"),
    ):
        with suppress(SecretRejected):
            read()


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    one.__name__: one
    for one in (target, chunks, request, answer, mask, inflate, redact, secret)
}


def main() -> None:
    """Fuzz one target."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(
            f"usage: python -m tests.support.fuzz_parsers {'|'.join(TARGETS)} [OPTION]..."
        )
    name = sys.argv.pop(1)
    atheris: Any = importlib.import_module("atheris")
    # Once more, under its own name, and with what it imports of ours instrumented.
    for module in [one for one in sys.modules if one.startswith("sidecar.core")]:
        del sys.modules[module]
    with atheris.instrument_imports(include=["sidecar.core"]):
        again = importlib.import_module("tests.support.fuzz_parsers")
    atheris.Setup(sys.argv, again.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
