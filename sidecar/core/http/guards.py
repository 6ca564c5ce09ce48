"""
Who must not call us: pages in a browser, and proxies that expose our port.

The listener has no password, so what a request says about itself is the only sign that
it does not come from the service:

- `Host` is a name that is not this machine: DNS rebinding (CVE-2025-66414,
  CVE-2026-34742). Only encodings that every parser reads in one way are accepted: no
  decimal, octal or short IPv4, no mapped IPv6, no user-info.
- `Origin`, `Sec-Fetch-*`: a browser. A page cannot leave these out or forge them.
- `Forwarded`, `X-Forwarded-*`, `Via`...: somebody put our port behind another proxy.

The names are classes of fields here; `headers.py` acts on them in its one pass.
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
# Clients of Unix sockets that have no host to name send none, or the socket's own path.
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
`Sec-Fetch-Mode` values that do not betray a browser. Node's `fetch` sends this field
(nodejs/undici#1305), and it alone: a browser never sends it without `Sec-Fetch-Site`,
and never says `navigate` or `websocket` from a program.
"""

HostCheck = Callable[[bytes], bool]


def is_loopback_host(host: bytes) -> bool:
    """Say whether a `Host` value is this machine: localhost, 127.0.0.0/8 or `[::1]`."""
    return _LOOPBACK.fullmatch(host) is not None


def is_socket_host(host: bytes) -> bool:
    """
    Say whether a `Host` value belongs to a call over the Unix socket.

    Besides the loopback names: nothing at all, or the percent-encoded path. A public
    name is refused here too: it means a web server in front of the socket.
    """
    return is_loopback_host(host) or _SOCKET.fullmatch(host) is not None


def is_browser_field(name: bytes) -> bool:
    """Say whether a canonical field name is sent by browsers only."""
    return name in _BROWSER or name.startswith(
        (b"sec-fetch-", b"access-control-request-")
    )


def is_forwarded_field(name: bytes) -> bool:
    """Say whether a canonical field name is added by proxies only."""
    return name in _FORWARDED or name.startswith(b"x-forwarded-")


def is_override_field(name: bytes) -> bool:
    """
    Say whether a canonical field name asks the API to read another method or path.

    Such a field would slip past `allow` and `deny`, which see the request line.
    """
    return name in _OVERRIDES
