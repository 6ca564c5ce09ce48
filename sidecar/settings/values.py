"""
How a piece of text becomes a setting: addresses, header names, secrets.

Rule 1: refuse, do not repair. What is not certainly meant is an error with an example.
Rule 2: no message contains the text it refuses: it may be a key in the wrong place.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Never

from sidecar.core.http import guards
from sidecar.core.http.fields import HOP_BY_HOP, canonical, is_proxy

MAX_PORT: Final = 65535
# sockaddr_un.sun_path is 108 bytes with its final NUL (unix(7)).
MAX_SOCKET_PATH_BYTES: Final = 107
# RFC 9110, section 5.6.2: token = 1*tchar.
TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
# CreateSecret, parameter Name: letters, digits and /_+=.@-; an ARN adds colons.
SECRET_NAME: Final = re.compile(r"[A-Za-z0-9/_+=.@:-]{1,2048}")
LOOKS_LIKE_A_KEY: Final = re.compile(r"(?i)bearer |fln_|wh(sec|sk|pk)_|sk[_-]|eyJ")


def words(text: str) -> frozenset[str]:
    """Split a list of words that is easier to read as text."""
    return frozenset(text.split())


# Fields that route or describe the message, beside those that every hop takes off.
OUR_HEADERS: Final = words(
    "accept accept-encoding content-encoding content-length content-type cookie date "
    "expect host set-cookie"
)


def refuse(rule: str) -> Never:
    """
    Refuse a value; pydantic turns it into a problem with its path.

    Raises:
        ValueError: always.
    """
    raise ValueError(rule)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener is: a host and port, or a Unix socket."""

    host: str = ""
    port: int = 0
    """0 lets the system choose a free one."""
    path: str = ""
    """Absolute path of a Unix socket; then host and port mean nothing."""

    def __str__(self) -> str:
        """The address as it is written in the settings."""
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return bool(self.path) or is_loopback(self.host)

    def clashes(self, other: "Address") -> bool:
        """Whether both cannot listen at the same time; port 0 never clashes."""
        if self.path or other.path:
            return self.path == other.path
        # An IPv6 wildcard takes no IPv4 port: asyncio sets IPV6_V6ONLY.
        if self.port != other.port or (":" in self.host) != (":" in other.host):
            return False
        hosts = {ipaddress.ip_address(self.host), ipaddress.ip_address(other.host)}
        return self.port != 0 and (
            len(hosts) == 1 or any(host.is_unspecified for host in hosts)
        )


def is_loopback(host: str) -> bool:
    """Whether a host name or literal is this machine, without asking DNS."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_address(value: object) -> Address:
    """
    Read `host:port`, `[v6]:port` or `unix:/path`.

    Raises:
        ValueError: it is none of these; names are not looked up.
    """
    if isinstance(value, Address):  # a default
        return value
    text = value if isinstance(value, str) else ""
    if text.startswith("unix:"):
        return Address(path=socket_path(text.removeprefix("unix:")))
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > MAX_PORT:
        refuse("must be host:port with a port from 0 to 65535, or unix:/path")
    bracketed = host.startswith("[") and host.endswith("]")
    # Never bind a name that DNS or /etc/hosts could point elsewhere.
    literal = "127.0.0.1" if host == "localhost" else host.strip("[]")
    try:
        literal = str(ipaddress.ip_address(literal))
    except ValueError:
        refuse("the host must be an IP address or localhost")
    if (":" in literal) != bracketed:
        refuse("an IPv6 address, and only that, is written in brackets: [::1]:8700")
    return Address(host=literal, port=int(port))


def socket_path(path: str) -> str:
    """
    Check the path of a Unix socket.

    Raises:
        ValueError: it is not absolute, or longer than the kernel takes.
    """
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        refuse("the path of a Unix socket must be absolute: unix:/path")
    if len(path.encode("utf-8", "surrogatepass")) > MAX_SOCKET_PATH_BYTES:
        refuse(f"the path of a Unix socket has at most {MAX_SOCKET_PATH_BYTES} bytes")
    return path


def parse_loopback_address(value: object) -> Address:
    """
    Read the address of a listener that sends the key for every client.

    Raises:
        ValueError: it is no address, or other machines could reach it.
    """
    address = parse_address(value)
    if not address.loopback:
        refuse(
            "must be a loopback address or a Unix socket: who reaches it uses the key"
        )
    return address


def parse_port_address(value: object) -> Address:
    """
    Read the address of a listener that must have a port.

    Raises:
        ValueError: it is no address, or a Unix socket.
    """
    address = parse_address(value)
    if address.path:
        refuse("must be host:port: only upstreams can listen on a Unix socket")
    return address


def check_header_name(name: str) -> str:
    """
    Check the field that carries the key.

    Raises:
        ValueError: it is no token, or a field that frames or routes the call.
    """
    if not TOKEN.fullmatch(name):
        refuse("must be a header name (RFC 9110, 5.6.2: a token), without colon")
    plain = canonical(name.encode())
    if (
        plain.decode() in OUR_HEADERS
        or plain in HOP_BY_HOP
        or is_proxy(plain)
        or guards.is_forwarded_field(plain)
        or guards.is_browser_field(plain)
        or guards.is_override_field(plain)
    ):
        refuse("cannot carry the key: this header frames or routes the call")
    return name


def check_scheme(text: str) -> str:
    """
    Check the word before the key; empty sends the bare key.

    Raises:
        ValueError: it is not one token.
    """
    if text and not TOKEN.fullmatch(text):
        refuse('must be one word, or "" for the bare key')
    return text


def check_secret_name(text: str) -> str:
    """
    Check the name or ARN of a secret.

    Raises:
        ValueError: Secrets Manager cannot have it, or it looks like a key itself.
    """
    if LOOKS_LIKE_A_KEY.match(text):
        refuse("looks like a key: name the secret that holds it, and revoke this key")
    if not SECRET_NAME.fullmatch(text):
        refuse("must be the name or the ARN of a secret in AWS Secrets Manager")
    return text
