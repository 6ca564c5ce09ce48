"""
The names of keys at the API: `<job>-<6 hex of the secret><12 hex of the version>`.

A key's plaintext is shown once. When a run dies after the API made a key and before
the key was stored, that key works, and nobody can ever use it: it has to be found
again and revoked. So the name says, before the key exists, for which version of which
secret it is being made; no other place survives the crash.

The digests are of identifiers (an ARN, a VersionId), never of a key.
"""

import functools
import hashlib
import itertools
import re
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

SECRET_DIGITS: Final = 6
VERSION_DIGITS: Final = 12
MARKED: Final = re.compile(r"(.+)-([0-9a-f]{6})([0-9a-f]{12})")
# Any fixed UUID will do: it keeps our tokens apart from everybody else's (RFC 9562, 5.5).
NAMESPACE: Final = uuid.UUID("6f3c1f0a-8a53-4c55-9d0e-6b1f2a7c9e41")


@dataclass(frozen=True, slots=True)
class KeyNaming:
    """What ties a key's name to one job and one secret."""

    job: str
    secret_arn: str

    def name_for(self, version_id: str) -> str:
        """Name the key that is being made for this version of the secret."""
        secret = _digits(self.secret_arn, SECRET_DIGITS)
        return f"{self.job}-{secret}{_digits(version_id, VERSION_DIGITS)}"

    def ours(self, name: str) -> bool:
        """Tell whether a rotation of this job and this secret made the name."""
        found = MARKED.fullmatch(name)
        if found is None:
            return False
        secret = _digits(self.secret_arn, SECRET_DIGITS)
        return (found[1], found[2]) == (self.job, secret)

    def next_version_id(self, current_version_id: str, attempt: int) -> str:
        """
        Name the version that succeeds the current one: the same for every run.

        Secrets Manager refuses to store two values under one ClientRequestToken, so
        of two runs that start from the same version only one can store its key.

        Returns:
            A ClientRequestToken for PutSecretValue; it becomes the VersionId.
        """
        seed = f"{self.secret_arn}|{current_version_id}|{attempt}"
        return str(uuid.uuid5(NAMESPACE, seed))

    def free_version_id(self, current_version_id: str, taken: Collection[str]) -> str:
        """Name the first version that may succeed the current one and is not stored."""
        attempts = (
            self.next_version_id(current_version_id, n) for n in itertools.count()
        )
        return next(
            next_version_id
            for next_version_id in attempts
            if next_version_id not in taken
        )


@functools.lru_cache(maxsize=256)
def _digits(text: str, count: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:count]
