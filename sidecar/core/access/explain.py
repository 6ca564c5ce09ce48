"""
What a 401 and a 403 of the API mean, in the words of a log line.

The two are not the same: 401 is about who we are, 403 about what we may do. The API's
404 is neither: absent, or not visible to us.
"""

from collections.abc import Sequence
from typing import Final

from sidecar.core.access.operations import ANY

_STATES: Final = {
    "stale": " The secret source has not answered for a while: a newer key may wait"
    " there.",
    "rolled_back": " The newest key does not work either: the one before it was in use.",
    "rejected": " The newest key does not work either.",
}


def explain_401(fingerprint: str | None = None, state: str | None = None) -> str:
    """
    Say what it means that the service saw a 401, and what to do.

    Args:
        fingerprint: Of the key that the call carried.
        state: Of that credential, see `sidecar.core.keylife.machine`.
    """
    which = f" (fingerprint {fingerprint})" if fingerprint else ""
    return (
        f"The API did not accept who we are: the key{which} is unknown there, malformed,"
        " expired or revoked, and no other stored key was accepted in its place."
        f"{_STATES.get(state or '', '')}"
        " Store a working key in the secret source; running sidecars take it by"
        " themselves. Permissions are another matter: those are a 403."
    )


def explain_403(operation: str, scopes: Sequence[str] = ()) -> str:
    """
    Say what it means that the service saw a 403, and what to do.

    Args:
        operation: The label of the operation, `*` when the settings name none.
        scopes: What the settings say that the API asks for.
    """
    what = "this call" if operation == ANY else f"the operation {operation}"
    if scopes:
        plural = "s" if len(scopes) > 1 else ""
        remedy = (
            f"The settings note the scope{plural} {', '.join(scopes)} for it: give"
            f" {'them' if plural else 'it'} to the service account, or stop calling it."
        )
    elif operation == ANY:
        remedy = (
            "Give the service account the role or scope for it, or stop calling it."
            " An `allow` list in the settings would name operations and their scopes."
        )
    else:
        remedy = (
            "The settings note no scopes for it. Give the service account the role or"
            " scope for it, or stop calling it."
        )
    return (
        f"The API knows who we are, but does not allow us {what}. {remedy}"
        " The key is fine: replacing it does not help."
    )
