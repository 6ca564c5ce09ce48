"""
Parses the API's answers about keys.

Rule 1: messages contain no text of the API: it may quote a key.
Rule 2: an unreadable answer is an error, never a guess: an overlooked key might be
    created again, or never revoked.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sidecar.core.rotation.facts import ApiKey, RotationStopped
from sidecar.core.secrecy.secret import Secret
from sidecar.errors import Exit
from sidecar.http_client import Fault, NoAnswer
from sidecar.rotation.options import ApiOptions
from sidecar.rotation.secret_document import CreatedKey

FIELDS: Final = "set [rotation] list_field and id_field to what the API answers"
LIVE: Final = frozenset({"active", "enabled", "live", "ok", "valid"})
DEAD: Final = frozenset(
    {
        *("revoked", "disabled", "inactive", "expired", "deleted", "suspended"),
        *("archived", "deactivated", "destroyed", "invalid", "blocked", "compromised"),
    }
)
WORDS: Final = f"ask its owner for one of: {', '.join(sorted(LIVE | DEAD))}"
# In milliseconds 1e11 is in 1973, in seconds in the year 5138.
MILLISECONDS: Final = 1e11


class CreateUnsure(RotationStopped):
    """A create call failed, and the API may have created a key."""


class Unreadable(RotationStopped):
    """A list of keys cannot be read."""

    def __init__(self, what: str, remedy: str = FIELDS) -> None:
        super().__init__(Exit.API, f"listing keys: the API gave {what}", remedy)


def read_made(body: bytes, options: ApiOptions, now: float) -> CreatedKey:
    """
    Parse the answer to a create call.

    Raises:
        CreateUnsure: it has no key, so the plaintext is lost.
    """
    document = _decode(body)
    fields = document if isinstance(document, dict) else {}
    key_id = fields.get(options.id_field)
    key = fields.get(options.key_field)
    if not isinstance(key_id, str) or not isinstance(key, str) or not key_id:
        raise CreateUnsure(
            Exit.API,
            f"the answer to creating a key lacks {options.id_field} or "
            f"{options.key_field}",
            "set [rotation] id_field and key_field to what the API answers",
        )
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    return CreatedKey(key_id, Secret(key), moment.replace("+00:00", "Z"))


def read_keys(
    body: bytes, options: ApiOptions, now: float
) -> tuple[list[ApiKey], bool]:
    """
    Parse a page of the list; True = more pages follow.

    Raises:
        Unreadable: it is not a list of keys.
    """
    document = _decode(body)
    items = document
    if options.list_field:
        found = document.get(options.list_field) if isinstance(document, dict) else None
        items = found
    if not isinstance(items, list):
        what = f"no list of keys in {options.list_field or 'its body'}"
        raise Unreadable(what)
    more = isinstance(document, dict) and document.get("has_more") is True
    return [_key(item, options, now) for item in items], more


def _key(item: object, options: ApiOptions, now: float) -> ApiKey:
    """Parse one key of a list."""
    fields = item if isinstance(item, dict) else {}
    key_id = fields.get(options.id_field)
    if not isinstance(key_id, str) or not key_id:
        what = f"a key without {options.id_field}"
        raise Unreadable(what)
    name = fields.get(options.name_field or "name")
    return ApiKey(
        key_id,
        name if isinstance(name, str) else "",
        live=_live(fields, now),
        created=_date(fields.get("created_at")),
    )


def _date(moment: object) -> str:
    """Return the date of a text or a Unix time; else ""."""
    if isinstance(moment, int | float) and not isinstance(moment, bool):
        try:
            return datetime.fromtimestamp(_seconds(moment), UTC).date().isoformat()
        except (ValueError, OverflowError, OSError):
            return ""
    text = moment[:10] if isinstance(moment, str) else ""
    # Only text in the expected form is shown.
    return text if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else ""


def _seconds(moment: float) -> float:
    """Return a Unix time in seconds; large values are milliseconds."""
    return moment / 1000 if moment > MILLISECONDS else moment


def _live(item: Mapping[str, Any], now: float) -> bool:
    """
    Return True if a listed key is live, by the fields that APIs use for it.

    Raises:
        Unreadable: a field is unknown. A live key taken for dead would be created
            again and again; a dead key taken for live would be relied on.
    """
    if item.get("revoked_at") or item.get("revoked") is True:
        return False
    return _status(item.get("status")) and not _expired(item.get("expires_at"), now)


def _status(word: object) -> bool:
    """Return True if the status of a key means live; null means live."""
    if word is None:
        return True
    known = word.strip().casefold() if isinstance(word, str) else ""
    if known in LIVE | DEAD:
        return known in LIVE
    what = "a key with a status that is not known"
    raise Unreadable(what, WORDS)


def _expired(moment: object, now: float) -> bool:
    """Return True if a key has expired: ISO 8601 or Unix time; null, "" or 0 = never."""
    if not moment:
        return False
    try:
        if isinstance(moment, str):
            end = datetime.fromisoformat(moment.strip())
            # A time without an offset is UTC.
            return (end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp() <= now
        if isinstance(moment, int | float) and not isinstance(moment, bool):
            return _seconds(moment) <= now
    except (ValueError, OverflowError):
        pass
    what = "a key with an expires_at that is no time"
    raise Unreadable(what, "ask its owner for ISO 8601 or a Unix time")


def _decode(body: bytes) -> object:
    """Decode JSON; None = it is invalid."""
    try:
        decoded: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return decoded


def check(status: int, doing: str) -> None:
    """Raise for every status but 2xx."""
    if not 200 <= status < 300:  # noqa: PLR2004  (RFC 9110, 15.3)
        raise RotationStopped(*refusal(status, doing))


def refusal(status: int, doing: str) -> tuple[Exit, str, str]:
    """Return exit code, reason and remedy for a status."""
    match status:
        case 401:
            what = "refuses the key of [rotation.credential]"
            remedy = "store a valid key in that secret"
        case 403:
            what = "does not let the key of [rotation.credential] manage keys"
            remedy = "choose the key of a service account with that permission"
        case 404:
            what = "has no such service account, or does not show it to this key"
            remedy = "correct [rotation] service_account_id or the operations"
        case 409:
            what = "has a conflict: too many keys, or a name that is taken"
            remedy = "see sidecar keys list, and revoke unused keys"
            return Exit.API, f"{doing}: the API {what} (409)", remedy
        case _:
            remedy = "run again later: the run continues from here"
            return Exit.API, f"{doing}: the API answered {status}", remedy
    return Exit.CREDENTIAL, f"{doing}: the API {what} ({status})", remedy


def silence(exc: NoAnswer, doing: str) -> tuple[Exit, str, str]:
    """Return exit code, reason and remedy for a missing answer."""
    code = Exit.TIMED_OUT if exc.fault is Fault.TIMEOUT else Exit.API
    remedy = "run again when it answers: the run continues from here"
    if exc.fault is Fault.TLS:
        remedy = "set ca_file if the API has a private authority"
    return code, f"{doing}: the API {exc.fault}", remedy
