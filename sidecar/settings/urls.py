"""
URLs and request targets in the settings: where keys and deliveries go.

They are stricter than RFC 3986: a user, a query, a fragment or a dot segment in a base
URL is a mistake, and a mistake here sends the key somewhere else.
"""

import re
from typing import Final
from urllib.parse import urlsplit

from sidecar.core.http.target import check_target
from sidecar.errors import Refused
from sidecar.settings.values import VISIBLE, is_loopback, refuse, socket_path

# RFC 1035, section 2.3.4: 63 octets a label, 253 characters a name. What is longer, or
# has an empty label, cannot even be asked for: Python raises UnicodeError.
LABEL: Final = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
HOST: Final = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(?:\.{LABEL})*")
SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")


def check_url(text: str) -> str:
    """
    Check the URL of an HTTP server; a final slash is dropped.

    Raises:
        ValueError: naming the rule that the text breaks.
    """
    if not VISIBLE.fullmatch(text):
        refuse("must be a URL in visible ASCII (an international name in punycode)")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        refuse("is not a URL")
    if parts.scheme not in {"http", "https"}:
        refuse("must begin with https:// (or http:// to this machine)")
    if "@" in parts.netloc:
        refuse("must not contain a user or password")
    if "?" in text or "#" in text:
        refuse("must not contain a query or fragment")
    if port == 0 or not (HOST.fullmatch(host) or ":" in host):
        refuse("must name a host, and a port from 1 to 65535 if any")
    check_path(parts.path)
    return text.rstrip("/")


def check_base_url(text: str) -> str:
    """
    Check the URL of an API: https, or http to this machine.

    Raises:
        ValueError: naming the rule that the text breaks.
    """
    url = check_url(text)
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        refuse("must begin with https://: http:// would show the key on the network")
    return url


def check_forward_url(text: str) -> str:
    """
    Check where webhooks go: http to this machine, or `unix:/socket[:/path]`.

    Raises:
        ValueError: naming the rule that the text breaks.
    """
    if text.startswith("unix:"):
        socket, colon, path = text.removeprefix("unix:").partition(":")
        socket_path(socket)
        if colon and not path.startswith("/"):
            refuse("after the socket comes a path: unix:/run/app.sock:/hooks")
        check_path(path)
        return text
    url = check_url(text)
    parts = urlsplit(url)
    if parts.scheme != "http" or not is_loopback(parts.hostname or ""):
        refuse("must be http:// to this machine, or a Unix socket: unix:/path:/hooks")
    return url


def check_probe(text: str) -> str:
    """
    Check `METHOD /path[?query]` of the call that proves a key.

    Raises:
        ValueError: the method is not safe (RFC 9110, 9.2.1), or the target is wrong.
    """
    method, _, target = text.partition(" ")
    if method not in SAFE_METHODS:
        refuse(f"the method must be a safe one: {', '.join(SAFE_METHODS)}")
    if not target:
        refuse("must be METHOD /path")
    check_path(target)
    return text


def check_path(path: str) -> None:
    """
    Check a path as the target of a call is checked, by the same rules.

    Raises:
        ValueError: it could leave itself, or is no path in visible ASCII.
    """
    problem = ""
    try:
        # surrogatepass: what is no text is no visible ASCII either.
        check_target((path or "/").encode("utf-8", "surrogatepass"))
    except Refused as exc:
        problem = exc.detail
    if problem:
        refuse(problem)
