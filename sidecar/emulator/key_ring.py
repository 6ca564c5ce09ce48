"""
The service accounts and API keys of the emulated API.

A key is shown once, when it is created. Only its SHA-256 is stored, so the saved state
holds no secret. A 401 has one of five codes, as on the real API.
"""

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

KEY: Final = re.compile(r"fln_(?:live|test)_[A-Za-z0-9]{16,128}")
MANAGE: Final = "service-accounts:manage"
DEFAULT_SCOPES: Final = frozenset({"contacts:read", "contacts:write"})
DEFAULT_ACCOUNT: Final = "sa_crm_sync"


class KeyFault(StrEnum):
    """Why a call is not authenticated: the code in the body of a 401."""

    MISSING = "missing_key"
    MALFORMED = "malformed_key"
    UNKNOWN = "unknown_key"
    EXPIRED = "expired_key"
    REVOKED = "revoked_key"


SENTENCES: Final = {
    KeyFault.MISSING: "no Authorization header came with the request",
    KeyFault.MALFORMED: "Authorization must be 'Bearer fln_live_...' or 'fln_test_...'",
    KeyFault.UNKNOWN: "no such key",
    KeyFault.EXPIRED: "the key has expired",
    KeyFault.REVOKED: "the key was revoked",
}


@dataclass(frozen=True)
class StoredKey:
    """What the API stores of a key; times are Unix seconds."""

    id: str
    account: str
    digest: str
    hint: str
    """The first characters, enough to tell environments apart."""
    created: float
    name: str = ""
    expires: float | None = None
    revoked: float | None = None
    active: bool = True
    """False: made, but not yet known to the servers that check keys."""


@dataclass(frozen=True)
class Account:
    """A service account: what its keys may do."""

    id: str
    name: str
    scopes: frozenset[str]


@dataclass(frozen=True)
class Issued:
    """A new key, in the only answer that ever shows it."""

    id: str
    key: str


@dataclass(frozen=True)
class _Saved:
    """The file that outlives a process."""

    accounts: list[Account]
    keys: list[StoredKey]


SAVED: Final = TypeAdapter(_Saved)


class KeyRing:
    """
    All accounts and keys.

    Args:
        now: wall clock, in Unix seconds.
        file: where the state is kept over restarts; None = nowhere.
    """

    def __init__(self, now: Callable[[], float], file: Path | None = None) -> None:
        self._now = now
        self._file = file
        self.accounts: dict[str, Account] = {}
        self._keys: dict[str, StoredKey] = {}
        self._by_digest: dict[str, str] = {}
        if file is not None and file.exists():
            self._load(SAVED.validate_json(file.read_bytes()))
        else:
            self.add_account(DEFAULT_ACCOUNT, "production-crm-sync", DEFAULT_SCOPES)

    def add_account(self, id_: str, name: str, scopes: Iterable[str]) -> Account:
        """Add a service account, or change its scopes."""
        self.accounts[id_] = Account(id_, name, frozenset(scopes))
        self._save()
        return self.accounts[id_]

    def issue(
        self,
        account: str = DEFAULT_ACCOUNT,
        *,
        name: str = "",
        environment: str = "live",
        ttl_seconds: float | None = None,
        active: bool = True,
    ) -> Issued:
        """Make a key; `KeyError` when there is no such account."""
        value = f"fln_{environment}_{secrets.token_hex(20)}"
        self.accounts[account]  # KeyError: there is no such account
        now = self._now()
        key = StoredKey(
            id=f"key_{secrets.token_hex(6)}",
            account=account,
            digest=_digest(value),
            hint=value[:12],
            created=now,
            name=name,
            expires=None if ttl_seconds is None else now + ttl_seconds,
            active=active,
        )
        self._put(key)
        return Issued(key.id, value)

    def get(self, key_id: str) -> StoredKey:
        """Look a key up by its id; `KeyError` when there is none."""
        return self._keys[key_id]

    def has(self, key_id: str, account: str) -> bool:
        """Return whether this key belongs to the account, revoked or not."""
        key = self._keys.get(key_id)
        return key is not None and key.account == account

    def of_account(self, account: str) -> list[StoredKey]:
        """List an account's keys that are not revoked, oldest first."""
        keys = self._keys.values()
        return [k for k in keys if k.account == account and k.revoked is None]

    def revoke(self, key_id: str) -> None:
        """Refuse this key from now on; a second time changes nothing."""
        key = self.get(key_id)
        if key.revoked is None:
            self._put(replace(key, revoked=self._now()))

    def expire(self, key_id: str) -> None:
        """Let this key expire now."""
        self._put(replace(self.get(key_id), expires=self._now()))

    def activate(self, key_id: str) -> None:
        """Let a key that was issued inactive work from now on."""
        self._put(replace(self.get(key_id), active=True))

    def check(
        self, authorization: str | None
    ) -> tuple[StoredKey | None, KeyFault | None]:
        """Find the key of an `Authorization` value, and what is wrong with it, if so."""
        if authorization is None:
            return None, KeyFault.MISSING
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "bearer" or not KEY.fullmatch(value):
            return None, KeyFault.MALFORMED
        key_id = self._by_digest.get(_digest(value))
        if key_id is None:
            return None, KeyFault.UNKNOWN
        key = self._keys[key_id]
        if key.revoked is not None:
            return key, KeyFault.REVOKED
        if key.expires is not None and key.expires <= self._now():
            return key, KeyFault.EXPIRED
        return key, None if key.active else KeyFault.UNKNOWN

    def _put(self, key: StoredKey) -> None:
        """Keep one key."""
        self._keys[key.id] = key
        self._by_digest[key.digest] = key.id
        self._save()

    def _save(self) -> None:
        """Write the state to the file, if there is one."""
        if self._file is None:
            return
        saved = _Saved(list(self.accounts.values()), list(self._keys.values()))
        # Renamed into place: a kill in mid-write leaves the old state.
        part = self._file.with_suffix(".part")
        part.write_bytes(SAVED.dump_json(saved))
        part.replace(self._file)

    def _load(self, saved: _Saved) -> None:
        """Load the state that an earlier process saved."""
        self.accounts = {account.id: account for account in saved.accounts}
        self._keys = {key.id: key for key in saved.keys}
        self._by_digest = {key.digest: key.id for key in saved.keys}


def _digest(value: str) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(value.encode()).hexdigest()
