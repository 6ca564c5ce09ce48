"""
Who may send commands: a client on this machine that is neither a browser nor a proxy.

In a pod the admin port listens on the pod's address, for kubelet and Prometheus. Reading
is harmless; `reload` and `quit` are for the containers of the pod alone.
"""

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Final

# A browser sends Origin with every POST (Fetch, 3.1) and Sec-Fetch-* to loopback
# addresses; a page that is open in it must not stop a developer's sidecar. Any of the
# other fields means that the loopback peer is a proxy for another client.
REFUSED_FIELDS: Final = (
    *("Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode"),
    *("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"),
)


def refusal(peer: str | None, headers: Mapping[str, str]) -> str | None:
    """
    Return why a command is refused, or None when it is accepted.

    Args:
        peer: The address of the other end of the connection.
        headers: The request's fields; the mapping ignores the case of names.
    """
    if not is_loopback(peer):
        return "Commands are accepted from this machine only"
    for name in REFUSED_FIELDS:
        if name in headers:
            return f"Commands are not accepted from browsers and proxies ({name})"
    return None


def is_loopback(peer: str | None) -> bool:
    """Return whether an address is loopback, also as IPv4 in IPv6 (RFC 4291)."""
    try:
        # A link-local peer comes with its zone: fe80::1%eth0 (RFC 4007, 11).
        address = ip_address((peer or "").partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback
