"""The ways in which a rotation goes no further, in words for people."""

from typing import Final

from sidecar.core.rotation.facts import Refuse
from sidecar.errors import Exit

# Failed attempts that follow one another without a success; then people must look.
MAX_ATTEMPTS: Final = 20

LOST: Final = Refuse(
    Exit.CREDENTIAL,
    "another run stored its key first; the key made here was revoked again",
    "let the other run finish; a further run shows whether it did",
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
    "API does not list: somebody else is rotating this secret, or has stopped halfway",
    "let that finish, or take the label off: aws secretsmanager "
    "update-secret-version-stage --version-stage AWSPENDING --remove-from-version-id ID",
)
REJECTED: Final = Refuse(
    Exit.API,
    "the API refused the new key, which was revoked again; the old key serves on",
    "see whether the service account is active, then run again",
)
UNPROVEN: Final = Refuse(
    Exit.API,
    "the API did not tell whether it accepts the new key; nothing was revoked",
    "run again when the API answers: the run goes on from here",
)
UNLISTED: Final = Refuse(
    Exit.API,
    "the API does not list the new key, so the rotation cannot be finished; the old "
    "key was not revoked",
    "run again when sidecar keys list shows it: the run goes on from here; if it never "
    "does, correct [rotation] list_operation",
)
UNDEAD: Final = Refuse(
    Exit.API,
    "the API took the call to revoke a key, and still lists the key as live",
    "run again: the run revokes it again; if it stays, correct [rotation] "
    "revoke_operation",
)
UNUSED: Final = Refuse(
    Exit.API,
    "the key made here died before it was promoted; the key in AWSCURRENT serves on",
    "see who revokes keys of the service account, then run again",
)
BROKEN: Final = Refuse(
    Exit.API,
    "the API does not accept the key in AWSCURRENT; the key before it, if it still "
    "works, was not revoked",
    "make another one: sidecar rotate",
)

EXHAUSTED: Final = Refuse(
    Exit.CREDENTIAL,
    f"{MAX_ATTEMPTS} rotations in a row have failed; the old key serves on",
    "see what they said; AWS removes their versions after a day",
)
