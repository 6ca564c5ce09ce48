"""
The names of keys at the API: `<job>-<6 hex of the secret><12 hex of the version>`.

The API returns the plaintext of a key once. If a run dies after the API created a key
and before the key was stored, the key is live and unusable: a later run must find and
revoke it. The name is the only data that survives the crash, so it identifies the
secret and the version for which the key is created.

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
# An arbitrary fixed UUID: it separates our tokens from all others (RFC 9562, 5.5).
NAMESPACE: Final = uuid.UUID("6f3c1f0a-8a53-4c55-9d0e-6b1f2a7c9e41")


@dataclass(frozen=True, slots=True)
class KeyNaming:
    """Names of the keys and versions of one job and one secret."""

    job: str
    secret_arn: str

    def name_for(self, version_id: str) -> str:
        """Return the name of the key for this version of the secret."""
        secret = _digits(self.secret_arn, SECRET_DIGITS)
        return f"{self.job}-{secret}{_digits(version_id, VERSION_DIGITS)}"

    def ours(self, name: str) -> bool:
        """Return True if a rotation of this job and this secret made the name."""
        found = MARKED.fullmatch(name)
        if found is None:
            return False
        secret = _digits(self.secret_arn, SECRET_DIGITS)
        return (found[1], found[2]) == (self.job, secret)

    def next_version_id(self, current_version_id: str, attempt: int) -> str:
        """
        Return the id of the version after the current one; every run computes the same.

        Secrets Manager refuses two values with one ClientRequestToken, so only one of
        two runs that start from the same version can store its key.

        Returns:
            A ClientRequestToken for PutSecretValue; it becomes the VersionId.
        """
        seed = f"{self.secret_arn}|{current_version_id}|{attempt}"
        return str(uuid.uuid5(NAMESPACE, seed))

    def free_version_id(self, current_version_id: str, taken: Collection[str]) -> str:
        """Return the first version id after the current one that is not stored."""
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
