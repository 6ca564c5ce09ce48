"""
What a 401 and a 403 of the API mean, for the log.

A 401 is about the key, a 403 about the permissions of its owner. A 404 of the API is
neither: the resource does not exist, or is not visible to the service account.
"""

from collections.abc import Sequence
from typing import Final

from sidecar.core.access.operations import ANY

EXPLAIN_401: Final = (
    "The API did not accept the key: it is unknown there, malformed, expired or revoked,"
    " and no other stored key was accepted in its place. Store a working key in the"
    " secret source; running sidecars load it by themselves. Missing permissions are not"
    " the cause: the API would return 403"
)


def explain_403(operation: str, scopes: Sequence[str] = ()) -> str:
    """
    Return what a 403 means, and what to do.

    Args:
        operation: The label of the operation; `*` if the settings name none.
        scopes: The scopes that the settings note for it.
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
        f"The API accepted the key, but does not allow {what}. {remedy}"
        " The key works: replacing it does not help"
    )
