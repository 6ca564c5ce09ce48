"""
What the status page says: every word that depends on the state of things.

The page's script gets these tables as JSON, so that a sentence is the same whether it
was rendered here or renewed in the browser. `{count}`, `{detail}` and `{before}` are
filled in as text, never as markup.
"""

from typing import Final

GOOD: Final = "good"
WARN: Final = "warn"
BAD: Final = "bad"

STATES: Final = {
    "fresh": (GOOD, "Working", "The key is current, and calls go out with it."),
    "stale": (
        WARN,
        "Working, but blind",
        (
            "The secret could not be refreshed; the last good key is still in use."
            " A rotation would not be noticed."
        ),
    ),
    "rolled_back": (
        WARN,
        "On the previous key",
        (
            "The API refuses the current key; the previous one works."
            " Store a good key before that one is revoked."
        ),
    ),
    "rejected": (
        WARN,
        "Newest key rejected",
        (
            "The API or our validation rejects the newest key; an older key is in use."
            " Do not revoke that one; store a good new key."
        ),
    ),
    "refused": (
        BAD,
        "Key refused",
        (
            "The API answers 401 to every key, and the service receives those 401s."
            " Create a key and store it in the secret."
        ),
    ),
    "missing": (
        BAD,
        "No key yet",
        (
            "The secret could not be read since the start. Calls wait a little for a key,"
            " then get 503."
        ),
    ),
    "expired": (
        BAD,
        "Key too old",
        (
            "The secret could not be looked at for longer than max_stale_seconds, so calls"
            " get 503."
        ),
    ),
}
"""State -> how bad it is, in a word or two, in a sentence."""

UNKNOWN: Final = (WARN, "Unknown", "This page does not know the state.")

OVERALL: Final = {
    GOOD: "All keys work",
    WARN: "Something needs a look",
    BAD: "Calls are failing",
    "draining": "Stopping: calls in flight are finishing",
}

EVENTS: Final = {
    "state": "{detail} (before: {before})",
    "state.first": "Started: {detail}",
    "key": "Key {detail} took over from {before}",
    "key.first": "Key {detail} came into use",
    "rejected": "The API rejects the new key {detail}; the old key is still in use",
    "recovered.replay": "401 recovered: {count} x repeated with the current key",
    "recovered.rollback": "401 recovered: {count} x repeated with the previous key",
    "refused": "Refused by the sidecar: {count} x {detail}",
}

ANSWERS: Final = {
    "2xx": "2xx",
    "401": "401 not proven",
    "403": "403 not allowed",
    "other": "other",
}
"""Class of answers -> its name; the order on the page."""

RECOVERED: Final = ("replay", "rollback")
"""The ways in which a 401 is recovered."""

DELIVERIES: Final = {
    "delivered": ("delivered",),
    "duplicate": ("duplicate", "in_flight"),
    "bad signature": ("bad_signature",),
    "not delivered": ("app_error", "app_unreachable", "store_error"),
    "refused": ("stale", "malformed", "too_large"),
}
"""Column of the webhooks' table -> the results that it adds up."""

NOTHING: Final = "Nothing yet."
NEVER: Final = "\u2013"

TABLES: Final = {
    "states": STATES,
    "unknown": UNKNOWN,
    "overall": OVERALL,
    "events": EVENTS,
    "nothing": NOTHING,
    "never": NEVER,
}
"""What the script gets."""


def event(kind: str, detail: str, before: str, count: int) -> str:
    """One event as a sentence."""
    if kind == "state":
        detail = STATES.get(detail, UNKNOWN)[1]
        before = STATES.get(before, UNKNOWN)[1] if before else ""
    for key in (f"{kind}.{detail}", kind if before else f"{kind}.first", kind):
        if key in EVENTS:
            values = {"{count}": str(count), "{detail}": detail, "{before}": before}
            text = EVENTS[key]
            for name, value in values.items():
                text = text.replace(name, value)
            return text
    return f"{kind} {detail}"


def duration(seconds: float) -> str:
    """A length of time in its largest unit."""
    seconds = abs(seconds)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def moment(at: float | None, now: float) -> str:
    """A point in time as seen from now."""
    if at is None:
        return NEVER
    if at > now + 1:
        return f"in {duration(at - now)}"
    return f"{duration(now - at)} ago" if now - at >= 1 else "now"
