"""
Selects the header fields of a delivery that are forwarded to the app.

Rule 1: the verified fields are forwarded unchanged: `webhook-*` or `svix-*`. The other
family and other spellings are dropped, because WSGI and CGI apps cannot distinguish
`webhook_id` from `webhook-id`.
Rule 2: credentials, cookies and forwarding fields are dropped. The app trusts this
machine, but the sender may be anyone on the internet.
Rule 3: a field that two parsers could read differently is refused, not repaired.
"""

import re
from collections.abc import Iterable
from typing import Final

from sidecar.core.http.fields import (
    DROP,
    HOP_BY_HOP,
    KEEP,
    Field,
    FieldTable,
    is_proxy,
    parse_connection,
)
from sidecar.core.webhooks.verification import (
    SIGNATURE_FIELDS,
    Delivery,
    Rejection,
    WebhookRejected,
)
from sidecar.errors import Code, Refused

OUR_FIELD: Final = "Sidecar-Webhook-Id"

_SIGNATURE: Final = 2
_CONNECTION: Final = 3

_DROPPED: Final = HOP_BY_HOP | {
    b"host",
    b"content-length",  # set again from the received body
    b"expect",
    b"authorization",
    b"cookie",
    b"forwarded",
    b"via",
    b"x-real-ip",
}
_DROPPED_PREFIXES: Final = (b"x-forwarded-", b"sidecar-", b"x-sidecar-")

# RFC 9110, section 5.5, without obs-text: aiohttp drops such bytes silently.
_VALUE: Final = re.compile(rb"[\t\x20-\x7e]*")


class ForwardedFields:
    """Selects fields; a bounded table remembers the action for each spelling."""

    def __init__(self) -> None:
        self._table = FieldTable(
            _action_of, Refused(Code.BAD_HEADER, "A field name is not a token")
        )

    def of(self, fields: Iterable[Field], delivery: Delivery) -> list[tuple[str, str]]:
        """
        Return the fields for the app in order, with `Sidecar-Webhook-Id` last.

        Raises:
            WebhookRejected: a field is malformed.
        """
        kept: list[tuple[bytes, bytes]] = []
        nominated: frozenset[bytes] = frozenset()
        try:
            for name, value in fields:
                action = self._table.actions.get(name)
                if action is None:
                    action = self._table.learn(name)
                if not _VALUE.fullmatch(value):
                    raise WebhookRejected(
                        Rejection.MALFORMED,
                        "the value of a header field has bytes outside visible ASCII",
                        delivery.id,
                    )
                if action == _CONNECTION:
                    nominated |= parse_connection(value, Code.BAD_HEADER)
                elif action == KEEP or (
                    action == _SIGNATURE and name.lower().startswith(delivery.family)
                ):
                    kept.append((name, value))
        except Refused as refused:
            raise WebhookRejected(
                Rejection.MALFORMED, str(refused), delivery.id
            ) from None
        # Fields named by Connection are hop-by-hop (RFC 9110, section 7.6.1), but a sender
        # must not remove the verified fields.
        removed = nominated - SIGNATURE_FIELDS
        pairs = [
            (name.decode("ascii"), value.decode("ascii"))
            for name, value in kept
            if name.lower() not in removed
        ]
        pairs.append((OUR_FIELD, delivery.id))
        return pairs


def _action_of(name: bytes) -> int:
    """Return the action for a field of this canonical name."""
    if name == b"connection":
        return _CONNECTION
    if name in SIGNATURE_FIELDS:
        return _SIGNATURE
    if name in _DROPPED or name.startswith(_DROPPED_PREFIXES) or is_proxy(name):
        return DROP
    return KEEP
