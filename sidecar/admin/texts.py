"""
The texts of the status page, and how bad each state is.

States, codes and counts have the names that the metrics, `/status` and the docs give them.
"""

from typing import Final

GOOD: Final = "good"
WARN: Final = "warn"
BAD: Final = "bad"

STATES: Final = {
    "fresh": (GOOD, "Fresh", "The key is current, and calls carry it."),
    "stale": (
        WARN,
        "Stale",
        (
            "The secret could not be refreshed. Calls carry the last good key, but a"
            " rotation would not be noticed."
        ),
    ),
    "rolled_back": (
        WARN,
        "Rolled back",
        (
            "The API answers 401 to the current key, so calls carry the previous one."
            " Store a good key before the previous one is revoked."
        ),
    ),
    "rejected": (
        WARN,
        "Rejected",
        (
            "The newest key is not accepted by the API or breaks a rule for keys. Calls"
            " carry the older key: do not revoke it, and store a good new key."
        ),
    ),
    "refused": (
        BAD,
        "Refused",
        (
            "No key works: the service receives the API's own 401. Create a key and store"
            " it in the secret."
        ),
    ),
    "missing": (
        BAD,
        "Missing",
        (
            "The secret has not been read since the start. Calls wait a few seconds for a"
            " key, then get 503."
        ),
    ),
    "expired": (
        BAD,
        "Expired",
        (
            "The key may no longer be used, because it was not refreshed in time. Calls get"
            " 503."
        ),
    ),
}
"""State -> severity, name, explanation."""

UNKNOWN: Final = (WARN, "Unknown", "This page does not know the state.")

OVERALL: Final = {
    GOOD: "All keys work",
    WARN: "Attention needed",
    BAD: "Calls are failing",
    "draining": "Draining: calls in flight are finishing",
}

EVENTS: Final = {
    "state": "State changed from {before} to {detail}",
    "state.first": "State at the start: {detail}",
    "key": "Key {detail} replaced {before}",
    "key.first": "Key {detail} came into use",
    "rejected": "New key {detail} is not accepted by the API; the older key stays in use",
    "recovered": "401s recovered ({detail}): {count}",
    "recovered.replay": "401s recovered by a replay with the current key: {count}",
    "recovered.rollback": "401s recovered by a replay with the previous key: {count}",
    "refused": "Calls refused with {detail}: {count}",
}
"""Kind of a `HistoryEvent` (with its detail, or `first`) -> sentence."""

ANSWERS: Final = {
    "2xx": "2xx",
    "401": "401 not accepted",
    "403": "403 not allowed",
    "other": "other",
}
"""Class of responses -> its name; in the order of the page."""

DELIVERIES: Final = {
    "delivered": ("delivered",),
    "duplicate": ("duplicate", "in_flight"),
    "bad signature": ("bad_signature",),
    "not delivered": ("app_error", "app_unreachable", "store_error"),
    "refused": ("stale", "malformed", "too_large"),
}
"""Column of the webhook table -> the results that it adds up."""

SOURCES: Final = {"secrets_manager": "Secrets Manager", "file": "File"}
NO_EVENTS: Final = "No events in this process"
NO_VALUE: Final = "\u2013"


def event(kind: str, detail: str, before: str, count: int) -> str:
    """Return one event of the history as a sentence."""
    if kind == "state":
        detail = STATES.get(detail, UNKNOWN)[1].lower()
        before = STATES.get(before, UNKNOWN)[1].lower() if before else ""
    for key in (f"{kind}.{detail}", kind if before else f"{kind}.first", kind):
        if key in EVENTS:
            return EVENTS[key].format(detail=detail, before=before, count=count)
    return f"{kind} {detail}"


def duration(seconds: float) -> str:
    """Return a length of time in the largest unit that it fills twice."""
    seconds = abs(seconds)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def moment(at: float | None, now: float) -> str:
    """Return a time, both in Unix seconds, relative to now."""
    if at is None:
        return NO_VALUE
    if at > now + 1:
        return f"in {duration(at - now)}"
    return f"{duration(now - at)} ago" if now - at >= 1 else "now"
