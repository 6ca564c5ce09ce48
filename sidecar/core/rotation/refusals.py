"""The refusals that end a rotation, with reason and remedy."""

from typing import Final

from sidecar.core.rotation.facts import Refuse
from sidecar.errors import Exit

# Failed attempts in a row after which a person must act.
MAX_ATTEMPTS: Final = 20

LOST: Final = Refuse(
    Exit.CREDENTIAL,
    "another run stored its key first; the key made here was revoked again",
    "let the other run finish, then run again",
)
EMPTY: Final = Refuse(
    Exit.CREDENTIAL,
    "the secret has no AWSCURRENT version",
    "store a first key: sidecar keys create",
)
OCCUPIED: Final = Refuse(
    Exit.CREDENTIAL,
    "the secret already holds a key",
    "replace it: sidecar rotate",
)
FOREIGN: Final = Refuse(
    Exit.CREDENTIAL,
    "AWSPENDING is on a version that this rotation did not make, or whose key the "
    "API does not list: another rotation is running, or stopped halfway",
    "let it finish, or remove the label: aws secretsmanager "
    "update-secret-version-stage --version-stage AWSPENDING --remove-from-version-id ID",
)
REJECTED: Final = Refuse(
    Exit.API,
    "the API refused the new key, which was revoked again; the old key stays in use",
    "check that the service account is active, then run again",
)
UNPROVEN: Final = Refuse(
    Exit.API,
    "the API neither accepted nor refused the new key; nothing was revoked",
    "run again when the API answers: the run continues from here",
)
UNLISTED: Final = Refuse(
    Exit.API,
    "the API does not list the new key, so the rotation cannot be finished; the old "
    "key was not revoked",
    "run again when sidecar keys list shows it: the run continues from here; if it never "
    "does, correct [rotation] list_operation",
)
UNDEAD: Final = Refuse(
    Exit.API,
    "the API accepted the call to revoke a key, and still lists the key as live",
    "run again: the run revokes it again; if it stays, correct [rotation] "
    "revoke_operation",
)
UNUSED: Final = Refuse(
    Exit.API,
    "the key made here died before it was promoted; the key in AWSCURRENT stays in use",
    "find out who revokes keys of the service account, then run again",
)
BROKEN: Final = Refuse(
    Exit.API,
    "the API does not accept the key in AWSCURRENT; the key before it, if it still "
    "works, was not revoked",
    "create a new key: sidecar rotate",
)

EXHAUSTED: Final = Refuse(
    Exit.CREDENTIAL,
    f"{MAX_ATTEMPTS} rotations in a row have failed; the old key stays in use",
    "read their messages; AWS removes their versions after a day",
)
