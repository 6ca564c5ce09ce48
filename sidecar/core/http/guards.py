"""
Signs that a request does not come from the service: a browser or another proxy sent it.

The listener has no password. So these signs in the head are all there is:

- `Host` is a name that is not this machine: DNS rebinding (CVE-2025-66414,
  CVE-2026-34742). Only spellings that every parser reads in the same way are accepted:
  no decimal, octal or short IPv4, no mapped IPv6, no user-info.
- `Origin`, `Sec-Fetch-*`: a browser. A page can neither omit nor forge these fields.
- `Forwarded`, `X-Forwarded-*`, `Via` and others: the port is behind another proxy.

`request_head.py` acts on the classes of fields that are defined here.
"""

import re
from collections.abc import Callable
from typing import Final

_OCTET: Final = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_PORT: Final = (
    rb"(?::(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}"
    rb"|[1-5][0-9]{4}|[1-9][0-9]{0,3}))?"
)
# RFC 9110, 7.2: Host = uri-host [ ":" port ].
_LOOPBACK: Final = re.compile(
    rb"(?:[lL][oO][cC][aA][lL][hH][oO][sS][tT]|127(?:\.%b){3}|\[::1\])%b"
    % (_OCTET, _PORT)
)
# Clients of Unix sockets send no host, or the path of the socket.
_SOCKET: Final = re.compile(rb"(?:%2[fF][0-9A-Za-z._~%\-]*)?")

_BROWSER: Final = frozenset({b"origin"})
_FORWARDED: Final = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-original-forwarded-for",
        b"x-cluster-client-ip",
        b"cf-connecting-ip",  # a Cloudflare tunnel to localhost
        b"true-client-ip",
    }
)
_OVERRIDES: Final = frozenset(
    {
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-url",
        b"x-rewrite-url",
    }
)

NODE_FETCH_MODES: Final = frozenset({b"cors", b"no-cors", b"same-origin"})
"""
`Sec-Fetch-Mode` values that are no sign of a browser. Node's `fetch` sends this field
(nodejs/undici#1305), without the others. A browser never sends it without
`Sec-Fetch-Site`, and Node never sends `navigate` or `websocket`.
"""

HostCheck = Callable[[bytes], bool]


def is_loopback_host(host: bytes) -> bool:
    """Return whether `Host` is this machine: localhost, 127.0.0.0/8 or `[::1]`."""
    return _LOOPBACK.fullmatch(host) is not None


def is_socket_host(host: bytes) -> bool:
    """
    Return whether `Host` is valid on a Unix socket.

    Besides the loopback names these are an empty value and the percent-encoded path. A
    public name is refused: it shows that a web server is in front of the socket.
    """
    return is_loopback_host(host) or _SOCKET.fullmatch(host) is not None


def is_browser_field(name: bytes) -> bool:
    """Return whether only browsers send a field of this canonical name."""
    return name in _BROWSER or name.startswith(
        (b"sec-fetch-", b"access-control-request-")
    )


def is_forwarded_field(name: bytes) -> bool:
    """Return whether only proxies add a field of this canonical name."""
    return name in _FORWARDED or name.startswith(b"x-forwarded-")


def is_override_field(name: bytes) -> bool:
    """
    Return whether a field of this canonical name overrides the method or the path.

    Such a field would evade `allow` and `deny`, which check the request line.
    """
    return name in _OVERRIDES
