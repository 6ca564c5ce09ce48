"""
Who may steer the process: somebody on this machine who is not a browser.

In a pod the admin port listens on the pod's address, for kubelet and Prometheus. Reading
is harmless; `reload` and `quit` are for the containers of the pod alone.
"""

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Final

# A browser sends Origin with every POST (Fetch, 3.1) and Sec-Fetch-* to loopback
# addresses; a page that is open in it must not stop a developer's sidecar. With any of
# the others the loopback peer is a proxy, and somebody else is behind it.
REFUSED_FIELDS: Final = (
    *("Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode"),
    *("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"),
)


def refusal(peer: str | None, headers: Mapping[str, str]) -> str | None:
    """
    Say why a command is refused, or None when it may pass.

    Args:
        peer: The address of the other end of the connection.
        headers: Of the request; names without regard to case.
    """
    if not is_loopback(peer):
        return "Commands are taken from this machine only."
    for name in REFUSED_FIELDS:
        if name in headers:
            return f"Commands are not taken through browsers and proxies ({name})."
    return None


def is_loopback(peer: str | None) -> bool:
    """Whether an address is this machine's own, also as IPv4 in IPv6 (RFC 4291)."""
    try:
        # A link-local peer comes with its zone: fe80::1%eth0 (RFC 4007, 11).
        address = ip_address((peer or "").partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback
