"""
A client of the API that creates, lists, revokes and proves keys.

Rule 1: messages contain no text of the API: it may quote a key.
Rule 2: a create call is sent once. The list shows whether it created a key.
"""

import json
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from sidecar.core.keylife.messages import proof_of
from sidecar.core.rotation.facts import ApiKey, Proof, RotationStopped
from sidecar.core.secrecy.secret import Secret, SecretRules, header_line
from sidecar.http_client import Fault, HttpClient, NoAnswer, ReceivedResponse
from sidecar.rotation.key_answers import (
    CreateUnsure,
    Unreadable,
    check,
    read_keys,
    read_made,
    refusal,
    silence,
)
from sidecar.rotation.options import ApiOptions, Clock
from sidecar.rotation.secret_document import CreatedKey

TRIES: Final = 3
PAUSE_SECONDS: Final = 1.0
MAX_PAGES: Final = 100
UNAUTHORIZED: Final = 401
NOT_FOUND: Final = 404
REDIRECTS: Final = range(300, 400)
PROOFS: Final = {True: Proof.PROVEN, False: Proof.REFUSED, None: Proof.SILENT}


class KeyApi:
    """
    Manages the keys of one service account.

    Args:
        options: operations and field names.
        rules: how a key is sent.
        manager: returns the key with which keys are managed; True = read it again.
        caller: makes the calls.
        clock: for pauses, and the date of a new key.
    """

    def __init__(
        self,
        options: ApiOptions,
        rules: SecretRules,
        manager: Callable[[bool], Secret],
        caller: HttpClient,
        clock: Clock,
    ) -> None:
        self._options = options
        self._rules = rules
        self._manager = manager
        self._caller = caller
        self._clock = clock

    def create(self, name: str) -> CreatedKey:
        """
        Create a key.

        Raises:
            CreateUnsure: the API may have created a key, whose plaintext is lost.
            RotationStopped: the API created no key.
        """
        field = self._options.name_field
        body = json.dumps({field: name} if field else {}).encode()
        method, target = self._operation(self._options.create_operation)
        try:
            reply = self._manage(method, target, body)
        except NoAnswer as exc:
            raise CreateUnsure(*silence(exc, "creating a key")) from None
        if reply.status >= 500 or reply.status < 200:  # noqa: PLR2004  (RFC 9110, 15)
            raise CreateUnsure(*refusal(reply.status, "creating a key"))
        check(reply.status, "creating a key")
        return read_made(reply.body, self._options, self._clock.now())

    def list_keys(self) -> tuple[ApiKey, ...]:
        """
        List the keys of the account.

        Raises:
            RotationStopped: the list cannot be read.
        """
        method, target = self._operation(self._options.list_operation)
        keys: list[ApiKey] = []
        cursor = ""
        for _ in range(MAX_PAGES):
            page = f"{'&' if '?' in target else '?'}starting_after={quote(cursor, safe='')}"
            reply = self._patiently(method, target + (page if cursor else ""))
            check(reply.status, "listing keys")
            found, more = read_keys(reply.body, self._options, self._clock.now())
            keys += found
            if not more or not found:
                return tuple(keys)
            cursor = found[-1].key_id
        what = "a list of keys without end"
        raise Unreadable(what)

    def revoke(self, key_id: str) -> bool:
        """
        Revoke a key; False = the API has no such key.

        Raises:
            RotationStopped: the key may still work.
        """
        method, target = self._operation(self._options.revoke_operation, key_id)
        reply = self._patiently(method, target)
        if reply.status == NOT_FOUND:
            return False
        check(reply.status, f"revoking key {key_id}")
        return True

    def prove(self, secret: Secret) -> Proof:
        """
        Call the API with a key.

        A 401 is final only after `settle_seconds`: a new key may not be valid everywhere
        at once. A server error proves nothing, because the old key is revoked after a
        proof.
        """
        operation = self._options.probe or self._options.list_operation
        method, target = self._operation(operation)
        end = self._clock.monotonic() + self._options.settle_seconds
        while True:
            proof = self._prove_once(method, target, secret)
            if proof is Proof.PROVEN or self._clock.monotonic() >= end:
                return proof
            self._clock.sleep(PAUSE_SECONDS)

    def _prove_once(self, method: str, target: str, secret: Secret) -> Proof:
        """Make one call with a key."""
        try:
            reply = self._caller.call(method, target, self._fields(secret), None)
        except NoAnswer:
            return Proof.SILENT
        # Stricter than the proxy: a redirect may lead to a login page, and the old key
        # is revoked after a proof.
        if reply.status in REDIRECTS:
            return Proof.SILENT
        return PROOFS[proof_of(reply.status)]

    def _patiently(self, method: str, target: str) -> ReceivedResponse:
        """Make a call that may be repeated; retry if the API is busy."""
        tries = 0
        while True:
            tries += 1
            try:
                reply = self._manage(method, target, None)
            except NoAnswer as exc:
                if tries == TRIES or exc.fault is Fault.TLS:
                    raise RotationStopped(*silence(exc, "managing keys")) from None
            else:
                busy = reply.status >= 500 or reply.status == 429  # noqa: PLR2004 - RFC 9110, 15
                if tries == TRIES or not busy:
                    return reply
            self._clock.sleep(PAUSE_SECONDS)

    def _manage(self, method: str, target: str, body: bytes | None) -> ReceivedResponse:
        """Make a call with the key with which keys are managed."""
        reply = self._send(method, target, body, fresh=False)
        if reply.status == UNAUTHORIZED:
            # That key may have been rotated; a call with 401 had no effect.
            reply = self._send(method, target, body, fresh=True)
        return reply

    def _send(
        self, method: str, target: str, body: bytes | None, *, fresh: bool
    ) -> ReceivedResponse:
        """Make one call."""
        fields = self._fields(self._manager(fresh))
        if body is not None:
            fields["Content-Type"] = "application/json"
        return self._caller.call(method, target, fields, body)

    def _fields(self, secret: Secret) -> dict[str, str]:
        """Return the header field that carries a key."""
        line = header_line(self._rules, secret).decode("ascii").rstrip("\r\n")
        name, _, value = line.partition(": ")
        return {name: value}

    def _operation(self, operation: str, key_id: str = "") -> tuple[str, str]:
        """Fill in an operation; an id cannot leave its path segment."""
        method, _, path = operation.partition(" ")
        ids = {"{id}": self._options.account, "{key_id}": key_id}
        for placeholder, value in ids.items():
            path = path.replace(placeholder, quote(value, safe=""))
        return method, path
