r"""
The request target: it is forwarded byte for byte, or refused.

Rule 1: nothing is normalised. The API decides what `%2F`, `%252F` and `//` mean; proxies
that decoded them broke calls (boundary#192, supervisor#7225).
Rule 2: no reading of the path leaves the base path. A server or gateway may decode several
times, read `\` as `/`, accept overlong UTF-8 or drop `;` parameters (CVE-2026-73551:
`..;x=`). If any such reading has a `.` or `..` segment, the target is refused. So it
does not matter which reading the API chooses.
Rule 3: only origin-form (RFC 9112, 3.2.1): the client never chooses the host.

`localise` handles `Location`, which is the other direction.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from sidecar.errors import Code, Refused

MAX_TARGET_BYTES: Final = 8192
"""As in nginx and Apache (RFC 9112, 3 asks for at least 8000)."""

ROUNDS: Final = 5
"""Decodings that are followed; a path that is encoded more often is refused."""

PLAIN: Final = rb"[0-9A-Za-z\-_~!$&'()*+,=:@][0-9A-Za-z\-._~!$&'()*+,=:@]*"
"""A segment that every server reads in the same way: no escape, no leading dot."""

# Harmless escapes: not of letters, digits and `-._~`, which need none, nor of blanks,
# `/`, `\`, `%`, `;`, `?`, `#`, nor the beginning of an overlong character.
_ESCAPE: Final = (
    rb"%(?:2[1246789A-Ca-c]|3[AC-Eac-e]|40|5[BDEbde]|60|7[B-Db-d]"
    rb"|[89ABDabd][0-9A-Fa-f]|[Cc][2-9A-Fa-f]|[Ee][1-9A-Fa-f]|[Ff][1-7])"
)
SEGMENT: Final = (
    rb"(?:[0-9A-Za-z\-_~!$&'()*+,=:@]|%b)[0-9A-Za-z\-._~!$&'()*+,=:@]*"
    rb"(?:%b[0-9A-Za-z\-._~!$&'()*+,=:@]*)*" % (_ESCAPE, _ESCAPE)
)
"""The same with harmless escapes: of punctuation and of international text."""

# A query is data, not a path: `..` means nothing in it. `#` never belongs to a target.
QUERY: Final = rb"(?:\?[\x21\x22\x24\x26-\x7e]*(?:%(?!00)[\x21\x22\x24\x26-\x7e]*)*)?"
"""Any visible ASCII but `#` and an encoded NUL."""

_PLAIN: Final = re.compile(rb"/(?:%b/)*(?:%b)?%b" % (PLAIN, PLAIN, QUERY))
_BORING: Final = re.compile(rb"/(?:%b/)*(?:%b)?%b" % (SEGMENT, SEGMENT, QUERY))
_SHAPE: Final = re.compile(rb"/[\x21\x22\x24-\x3e\x40-\x7e]*%b" % QUERY)

_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2}|[uU][0-9A-Fa-f]{4})")
_U_ESCAPE: Final = re.compile(rb"%[uU]00([0-9A-Fa-f]{2})")
# Encodings of ASCII that are longer than necessary (RFC 3629, 3: MUST be refused; IIS
# and old Java accepted them): the last byte, with bit 6 in the byte before it.
_OVERLONG: Final = re.compile(
    rb"(?:[\xc0\xc1]|\xe0[\x80\x81]|\xf0\x80[\x80\x81]|\xf8\x80\x80[\x80\x81]"
    rb"|\xfc\x80\x80\x80[\x80\x81])[\x00-\xff]",
    re.DOTALL,
)
_SEPARATOR: Final = re.compile(rb"[/\\]")
_PARAMETERS: Final = re.compile(rb"[;?#].*", re.DOTALL)
# Parsers that trim or skip white space (WHATWG URL, 4.4) find the dots behind it.
_BLANKS: Final = bytes(range(0x21)) + b"\x7f"
_DOTS: Final = frozenset({b".", b".."})


def check_target(target: bytes) -> None:
    """
    Check that a request target may be appended to the base path as it is.

    Raises:
        Refused: `target_too_long` or `bad_target`.
    """
    if len(target) > MAX_TARGET_BYTES:
        raise Refused(
            Code.TARGET_TOO_LONG,
            f"The target is longer than {MAX_TARGET_BYTES} bytes",
        )
    # Two expressions, because the one with escapes costs twice as much.
    if _PLAIN.fullmatch(target) or _BORING.fullmatch(target):
        return
    if not _SHAPE.fullmatch(target):
        raise Refused(
            Code.BAD_TARGET,
            "The target must be a path and query in visible ASCII, without fragment",
        )
    path = target.partition(b"?")[0]
    if _BAD_ESCAPE.search(path):
        raise Refused(Code.BAD_TARGET, "The path has a malformed escape")
    for segments in readings(path):
        if not _DOTS.isdisjoint(segments):
            raise Refused(
                Code.BAD_TARGET, "The path has a . or .. segment, plain or encoded"
            )


def readings(path: bytes) -> Iterator[list[bytes]]:
    """
    Yield the segments of a path as servers may read them, one decoding after another.

    The segments have no parameters and no blanks; empty segments are kept.

    Raises:
        Refused: `bad_target`, for a NUL or for a path that is encoded too many times.
    """
    for _ in range(ROUNDS + 1):
        if b"\0" in path:
            raise Refused(Code.BAD_TARGET, "The path has an encoded NUL")
        yield [plain(segment) for segment in _SEPARATOR.split(path[1:])]
        decoded = _decode(path)
        if decoded == path:
            return
        path = decoded
    raise Refused(Code.BAD_TARGET, "The path is encoded too many times")


def plain(segment: bytes) -> bytes:
    """Return a segment without parameters and blanks."""
    return _PARAMETERS.sub(b"", segment).translate(None, _BLANKS)


def _decode(path: bytes) -> bytes:
    """Decode once, overlong characters included."""
    return _OVERLONG.sub(_shortest, unquote_to_bytes(_U_ESCAPE.sub(rb"%\1", path)))


def _shortest(match: re.Match[bytes]) -> bytes:
    """Return the ASCII character of an overlong sequence."""
    *_, before, last = match[0]
    return bytes([(before & 1) << 6 | last & 0x3F])


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """The base URL of an API."""

    scheme: str
    host: str
    """Without brackets; also the name that the certificate must have."""
    port: int
    path: bytes
    """Without a final slash; the target is appended to it."""
    host_header: bytes
    """The value of `Host`: with brackets, and with a port that is not the default."""

    @classmethod
    def parse(cls, text: str) -> "BaseUrl":
        """
        Parse `https://api.flownally.com/v1`.

        Raises:
            ValueError: The text is not a plain http or https URL.
        """
        try:
            parts = urlsplit(text)
            port = parts.port or DEFAULT_PORTS[parts.scheme]
            host = parts.hostname or ""
            path = parts.path.rstrip("/").encode("ascii")
            check_target(path + b"/")
        except (KeyError, UnicodeEncodeError, Refused) as error:
            message = "it must be http:// or https://, a host, and a plain path"
            raise ValueError(message) from error
        if not host or not host.isascii() or "@" in parts.netloc:
            message = "it must name a host in ASCII, without user or password"
            raise ValueError(message)
        if "?" in text or "#" in text:
            message = "it must have no query and no fragment"
            raise ValueError(message)
        name = f"[{host}]" if ":" in host else host
        if port != DEFAULT_PORTS[parts.scheme]:
            name = f"{name}:{port}"
        return cls(parts.scheme, host, port, path, name.encode("ascii"))


DEFAULT_PORTS: Final = {"http": 80, "https": 443}
"""RFC 9110, 4.2."""

# RFC 3986, appendix B, in part.
_REFERENCE: Final = re.compile(
    rb"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+\-.]*):)?"
    rb"(?://(?P<authority>[^/?#]*))?(?P<rest>(?P<target>[^#]*)(?:#.*)?)",
    re.DOTALL,
)


def localise(location: bytes, base: BaseUrl) -> bytes:
    """
    Return a `Location` that leads a client of the listener to the same resource.

    A location under the base URL becomes a path on the listener. An absolute path
    elsewhere on the host of the API becomes a full URL, because on the listener it would
    be another resource. All others, and those that can be read in two ways, are kept.
    """
    reference = _REFERENCE.fullmatch(location)
    if reference is None or not _is_the_apis(reference, base):
        return location
    local = _under(reference["target"], reference["rest"], base.path)
    if local is None and reference["authority"] is None:
        return b"%b://%b%b" % (base.scheme.encode(), base.host_header, location)
    return location if local is None else local


def _is_the_apis(reference: re.Match[bytes], base: BaseUrl) -> bool:
    """Return whether a reference is on the API's host, and not relative to the call."""
    scheme, authority = reference["scheme"], reference["authority"]
    if authority is None:
        # A reference relative to the call's path means the same here, like `mailto:`.
        return scheme is None and reference["rest"].startswith(b"/")
    if scheme is not None and scheme.lower() != base.scheme.encode():
        return False
    return _same_host(authority, base)


def _same_host(authority: bytes, base: BaseUrl) -> bool:
    """Return whether an authority is the API's, with or without the default port."""
    name = authority.lower()
    default = b":%d" % DEFAULT_PORTS[base.scheme]
    return name.removesuffix(default) == base.host_header.lower()


def _under(target: bytes, rest: bytes, path: bytes) -> bytes | None:
    """Return the part of `rest` after the base path; None: it is not safely under it."""
    if not target.startswith(path) or target[len(path) :][:1] not in (b"", b"/", b"?"):
        return None
    local, rest = target[len(path) :], rest[len(path) :]
    if not local.startswith(b"/"):
        local, rest = b"/" + local, b"/" + rest
    if local[1:2] in (b"/", b"\\"):
        return None  # `//evil.example/` would name a host
    try:
        check_target(local)
    except Refused:
        return None
    return rest
