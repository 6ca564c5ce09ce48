"""
Which header fields of a delivery the app sees.

Rule 1: what was verified arrives as it came: the `webhook-*` fields, or the `svix-*`
ones, but never a family that was not looked at, nor another spelling of either. (WSGI
and CGI apps cannot tell `webhook_id` from `webhook-id`.)
Rule 2: what would speak for the sender does not: credentials, cookies, forwarding
fields. The app trusts this machine, and the sender is the internet.
Rule 3: a field that could be read in two ways is refused, not mended.
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
    b"content-length",  # ours, from what was received
    b"expect",
    b"authorization",
    b"cookie",
    b"forwarded",
    b"via",
    b"x-real-ip",
}
_DROPPED_PREFIXES: Final = (b"x-forwarded-", b"sidecar-", b"x-sidecar-")

# RFC 9110, section 5.5, without obs-text: aiohttp would drop such bytes silently.
_VALUE: Final = re.compile(rb"[\t\x20-\x7e]*")


class ForwardedFields:
    """Sorts fields; remembers, in a bounded table, how a spelling is treated."""

    def __init__(self) -> None:
        self._table = FieldTable(
            _action_of, Refused(Code.BAD_HEADER, "A field name is not a token")
        )

    def of(self, fields: Iterable[Field], delivery: Delivery) -> list[tuple[str, str]]:
        """
        Return the fields for the app, in order, `Sidecar-Webhook-Id` the last.

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
        # RFC 9110, section 7.6.1; but never what was verified.
        gone = nominated - SIGNATURE_FIELDS
        pairs = [
            (name.decode("ascii"), value.decode("ascii"))
            for name, value in kept
            if name.lower() not in gone
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
