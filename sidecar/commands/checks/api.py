"""
Checks of an API: name, connection, certificate, key and clock.

One connection is opened step by step, and the first step that fails is reported. It
uses the TLS context of the proxy and ignores proxy variables.
"""

import http.client
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Final

from sidecar import __version__
from sidecar.commands.checks.finding import Finding, failed, passed, skipped, warned
from sidecar.core.http.target import BaseUrl
from sidecar.core.keylife.messages import proof_of
from sidecar.core.secrecy.secret import Secret, SecretRules, header_line
from sidecar.errors import Exit
from sidecar.proxy.connect import tls_context
from sidecar.settings.tables import UpstreamSettings

DAY_SECONDS: Final = 86400
EXPIRES_SOON_DAYS: Final = 14
UNSURE_SECONDS: Final = 5
"""`Date` has whole seconds, and an answer takes time."""
REFUSED_SECONDS: Final = 240
"""AWS refuses signatures at 300 seconds, and so does the webhook receiver."""
FORBIDDEN: Final = 403
REDIRECTS: Final = range(300, 400)

# X509_V_ERR_* of OpenSSL's x509_vfy.h.
EXPIRED, SELF_SIGNED, SELF_SIGNED_IN_CHAIN, NO_ISSUER, UNVERIFIED, NAME, ADDRESS = (
    10, 18, 19, 20, 21, 62, 64,
)  # fmt: skip
_UNTRUSTED: Final = "the authority of the certificate is not trusted"
_TRUST: Final = "set upstreams.{}.ca_file to the authority's PEM file"
CERTIFICATES: Final = MappingProxyType(
    {
        EXPIRED: ("the certificate has expired", "its owner must renew it"),
        SELF_SIGNED: (_UNTRUSTED, _TRUST),
        SELF_SIGNED_IN_CHAIN: (_UNTRUSTED, _TRUST),
        NO_ISSUER: (_UNTRUSTED, _TRUST),
        UNVERIFIED: (_UNTRUSTED, _TRUST),
        NAME: ("the certificate is for another name", "correct upstreams.{}.base_url"),
        ADDRESS: (
            "the certificate is for another address",
            "correct upstreams.{}.base_url",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Api:
    """An API and the key for it."""

    name: str
    """Of the upstream."""
    upstream: UpstreamSettings
    rules: SecretRules
    secret: Secret | None
    """None = there is no key."""


def check_api(api: Api, now: float) -> Iterator[Finding]:
    """
    Check name, connection, certificate, key and clock.

    Args:
        api: the API.
        now: Unix seconds.
    """
    base = BaseUrl.parse(api.upstream.base_url)
    try:
        found = socket.getaddrinfo(base.host, base.port, type=socket.SOCK_STREAM)
    except socket.gaierror as exc:
        reason = f"{base.host} has no address: {exc.strerror}".lower()
        remedy = f"correct upstreams.{api.name}.base_url, or check DNS"
        yield failed(f"{api.name}: name", reason, remedy, Exit.API)
        return
    yield passed(f"{api.name}: name", f"{base.host} is {found[0][4][0]}")

    seconds = api.upstream.limits.connect_seconds
    try:
        sock = socket.create_connection((base.host, base.port), seconds)
    except OSError as exc:
        reason = f"port {base.port} of {base.host}: {_word(exc)}"
        remedy = "check routes, firewalls, network policies and the API's status"
        yield failed(f"{api.name}: connection", reason, remedy, Exit.API)
        return
    with sock:
        yield passed(f"{api.name}: connection", f"port {base.port} accepts it")
        if base.scheme == "http":
            yield from _calls(api, base, sock, now)
        else:
            yield from _secured(api, base, sock, now)


def _secured(
    api: Api, base: BaseUrl, sock: socket.socket, now: float
) -> Iterator[Finding]:
    """Make the TLS handshake, then the calls."""
    name = f"{api.name}: TLS"
    ca_file = api.upstream.ca_file
    context = tls_context(str(ca_file) if ca_file else None)
    try:
        tls = context.wrap_socket(sock, server_hostname=base.host)
    except ssl.SSLCertVerificationError as exc:
        other = (exc.verify_message, "see this message of OpenSSL, and the certificate")
        reason, remedy = CERTIFICATES.get(exc.verify_code, other)
        yield failed(name, reason, remedy.format(api.name), Exit.API)
        return
    except OSError as exc:  # ssl.SSLError is one
        remedy = (
            f"check that upstreams.{api.name}.base_url is a TLS server (1.2 or 1.3)"
        )
        yield failed(name, f"the handshake failed: {_word(exc)}", remedy, Exit.API)
        return
    with tls:
        until = ssl.cert_time_to_seconds(str((tls.getpeercert() or {})["notAfter"]))
        days = int((until - now) // DAY_SECONDS)
        if days < EXPIRES_SOON_DAYS:
            yield warned(
                name,
                f"the certificate of {base.host} expires in {days} days",
                "its owner should renew it",
            )
        else:
            yield passed(name, f"{tls.version()}, certificate valid for {days} days")
        yield from _calls(api, base, tls, now)


def _calls(
    api: Api, base: BaseUrl, sock: socket.socket, now: float
) -> Iterator[Finding]:
    """Make the call that proves the key; without a key, a call for the clock only."""
    name = f"{api.name}: key"
    probe = api.upstream.credential.probe
    method, _, target = (probe or "GET /").partition(" ")
    headers = {
        "Accept": "application/json",
        "Host": base.host_header.decode(),
        "User-Agent": f"sidecar-check/{__version__}",
    }
    tried = probe is not None and api.secret is not None
    if tried and api.secret is not None:
        field, _, value = header_line(api.rules, api.secret).decode().partition(": ")
        headers[field] = value.rstrip("\r\n")
    try:
        status, date = _call(sock, method, base.path.decode() + target, headers)
    except (OSError, http.client.HTTPException) as exc:
        remedy = f"check that upstreams.{api.name}.base_url is an HTTP server"
        yield failed(name, f"no answer: {_word(exc)}", remedy, Exit.API)
        return
    if tried:
        yield _judged(api, probe or "", status)
    elif probe is None:
        yield skipped(name, "not tried: no probe is set")
    else:
        yield skipped(name, "not tried: there is no key")
    yield from _clock(api.name, date, now)


def _judged(api: Api, probe: str, status: int) -> Finding:
    """Return the finding for the answer to the probe."""
    name = f"{api.name}: key"
    proof = proof_of(status)
    if proof is False:
        return failed(
            name,
            f"the API answers {status} to {probe}: the key is wrong or revoked",
            "store a valid key in the secret, or run `sidecar rotate`",
            Exit.API,
        )
    if proof is None:
        return warned(
            name,
            f"the API answers {status} to {probe}, which neither accepts nor refuses the key",
            "see the API's status, and try again",
        )
    if status == FORBIDDEN:
        return warned(
            name,
            f"the API answers {status} to {probe}: the key is valid but lacks the permission",
            "give the key the scope of the probe, or choose another probe",
        )
    if status in REDIRECTS:
        return warned(
            name,
            f"the API answers {status} to {probe}: redirects are never followed",
            f"correct upstreams.{api.name}.base_url or the probe",
        )
    return passed(name, f"the API answers {status} to {probe}: it accepts the key")


def _clock(name: str, date: str, now: float) -> Iterator[Finding]:
    """Compare the clock of this machine with the clock of the API."""
    try:
        off = now - parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return
    label = f"{name}: clock"
    shown = f"this machine is {abs(off):.0f} s {'ahead' if off > 0 else 'behind'}"
    remedy = "set this machine's clock (NTP)"
    if abs(off) >= REFUSED_SECONDS:
        yield failed(label, shown, remedy, Exit.CREDENTIAL)
    elif abs(off) > UNSURE_SECONDS:
        yield warned(label, shown, remedy)
    else:
        yield passed(label, "agrees with this machine")


def _call(
    sock: socket.socket, method: str, target: str, headers: dict[str, str]
) -> tuple[int, str]:
    """Make a call on an open connection without reading the body."""
    connection = http.client.HTTPConnection("unused")
    connection.sock = sock
    connection.request(method, target, headers=headers)
    response = connection.getresponse()
    return response.status, response.getheader("Date", "")


def _word(exc: Exception) -> str:
    """Describe an error without the text of the exception, which may hold a header."""
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, ssl.SSLError):
        return (exc.reason or type(exc).__name__).replace("_", " ").lower()
    if isinstance(exc, OSError) and exc.errno:
        return os.strerror(exc.errno).lower()
    return type(exc).__name__
