"""
Sign a webhook delivery as a sender does, to test the receiver.

The secret comes from a file, from Secrets Manager, or from the secret of an endpoint in
the settings; never from the command line, which every user of the machine can read.
"""

import argparse
import asyncio
import os
import re
import secrets
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sidecar.commands.support import config_behind, settings_of
from sidecar.core.secrecy.secret import Secret, SecretRules, parse_secret
from sidecar.core.webhooks.signing_keys import parse_signing_key
from sidecar.core.webhooks.verification import sign
from sidecar.credential.sources.base import Source
from sidecar.errors import Exit, Problem, SettingsInvalid
from sidecar.hardening import harden
from sidecar.http_client import HttpClient, NoAnswer
from sidecar.settings.urls import check_path, check_url
from sidecar.settings.values import check_secret_name

SEND_SECONDS: Final = 30
DEFAULT_URL: Final = "http://127.0.0.1:8702/webhooks/inbox"
ID: Final = re.compile(r"[\x21-\x7e]{1,1000}")
# RFC 9110, section 5.5: field-content, without what is not ASCII.
FIELD_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?")
STATUS_OK: Final = range(200, 300)
UNSPECIFIED: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  (compared, not bound)


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed delivery."""

    fields: dict[str, str]
    body: bytes
    url: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action and its options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    action = actions.add_parser(
        "sign",
        help="sign a delivery",
        description="Print the header fields of a signed delivery, or send it.",
    )
    config_behind(action)
    source = action.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--secret-file", metavar="FILE", help="holds whsec_... (v1) or whsk_... (v1a)"
    )
    source.add_argument(
        "--secret-id", metavar="ID", help="name or ARN in AWS Secrets Manager"
    )
    source.add_argument(
        "--endpoint",
        metavar="NAME",
        help="endpoint of the settings: use its secret and listener",
    )
    action.add_argument("--id", help="webhook-id (default: a new one)")
    action.add_argument(
        "--timestamp", type=int, metavar="SECONDS", help="Unix seconds (default: now)"
    )
    action.add_argument(
        "--body-file", metavar="FILE", help="the body (default: standard input)"
    )
    action.add_argument(
        "--content-type", default="application/json", metavar="TYPE", help="of the body"
    )
    action.add_argument(
        "--url", help=f"receiver (default: the URL of the endpoint, else {DEFAULT_URL})"
    )
    how = action.add_mutually_exclusive_group()
    how.add_argument("--curl", action="store_true", help="print it as a curl command")
    how.add_argument("--send", action="store_true", help="send it, print the answer")


def run(args: argparse.Namespace) -> Exit:
    """Sign, then print or send."""
    harden()
    signed = _sign(args)
    if args.send:
        return _send(signed)
    if args.curl:
        print(_curl(signed, args.body_file))
    else:
        for name, value in signed.fields.items():
            print(f"{name}: {value}")
    return Exit.OK


def _sign(args: argparse.Namespace) -> Signed:
    _check(args)
    id_ = args.id or f"msg_{secrets.token_hex(12)}"
    at = int(time.time()) if args.timestamp is None else args.timestamp
    secret, url = _secret_and_url(args)
    body = _body(args.body_file)
    signer = parse_signing_key(secret.reveal())
    fields = {
        "webhook-id": id_,
        "webhook-timestamp": str(at),
        "webhook-signature": sign(signer, id_, at, body),
        "Content-Type": args.content_type,
    }
    return Signed(fields, body, args.url or url)


def _check(args: argparse.Namespace) -> None:
    """
    Check the options that become header fields or the URL.

    Raises:
        SettingsInvalid: with every wrong option.
    """
    problems: list[Problem] = []
    if args.id and not ID.fullmatch(args.id):
        reason = "must be visible ASCII, because it is a header field"
        problems.append(Problem("--id", reason, "msg_1"))
    if not FIELD_VALUE.fullmatch(args.content_type):
        reason = "must be one line of ASCII, because it is a header field"
        problems.append(Problem("--content-type", reason, "application/json"))
    if args.url is not None:
        base, _, query = args.url.partition("?")
        try:
            check_url(base)
            if query:
                check_path(f"/?{query}")
        except ValueError as error:
            problems.append(Problem("--url", str(error), DEFAULT_URL))
    if problems:
        raise SettingsInvalid(problems)


def _secret_and_url(args: argparse.Namespace) -> tuple[Secret, str]:
    """Return the secret and the URL of the receiver."""
    if args.secret_file:
        text = _read("--secret-file", args.secret_file).decode("utf-8", "replace")
        return parse_secret(text, SecretRules(scheme="")), DEFAULT_URL
    if args.secret_id:
        return _fetch(_secrets_manager(args.secret_id), None), DEFAULT_URL
    settings = settings_of(args)
    if args.endpoint not in settings.webhooks:
        known = ", ".join(sorted(settings.webhooks)) or "none"
        reason = f"the settings have no such endpoint (they have: {known})"
        raise SettingsInvalid([Problem("--endpoint", reason)])
    endpoint = settings.webhooks[args.endpoint]
    listen = settings.webhook_listener.listen
    host = "127.0.0.1" if listen.host in UNSPECIFIED else listen.host
    shown = f"[{host}]" if ":" in host else host
    from sidecar.wiring import source_of  # noqa: PLC0415  (brings botocore)

    source = source_of(endpoint, settings.aws, _uncounted)
    return (
        _fetch(source, endpoint.json_key),
        f"http://{shown}:{listen.port}/webhooks/{args.endpoint}",
    )


def _secrets_manager(secret_id: str) -> Source:
    """Return the source of a secret that is not in the settings."""
    from sidecar.credential.sources.secrets_manager import (  # noqa: PLC0415  (as above)
        SecretsManagerSource,
    )

    try:
        check_secret_name(secret_id)
    except ValueError as error:
        raise SettingsInvalid([Problem("--secret-id", str(error))]) from None
    # botocore itself knows only the second name.
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return SecretsManagerSource(
        secret_id, region=region, endpoint_url=None, now=time.time, on_call=_uncounted
    )


def _uncounted(_service: str, _operation: str, _result: str) -> None:
    """Count nothing: this process has no metrics."""


def _fetch(source: Source, json_key: str | None) -> Secret:
    """Fetch the current value. Raises SourceFailed or SecretRejected."""

    async def fetch() -> Secret:
        try:
            fetched = await source.fetch("AWSCURRENT")
        finally:
            await source.close()
        return parse_secret(fetched.raw, SecretRules(json_key=json_key, scheme=""))

    return asyncio.run(fetch())


def _body(path: str | None) -> bytes:
    if path is not None:
        return _read("--body-file", path)
    if sys.stdin.isatty():
        print("the body, then Ctrl-D:", file=sys.stderr)
    return sys.stdin.buffer.read()


def _read(option: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
        raise SettingsInvalid([Problem(option, reason)]) from None


def _curl(signed: Signed, path: str | None) -> str:
    """Return the delivery as a curl command; a body file is passed by name."""
    if path is not None:
        # --data-binary: --data would drop line breaks, and so break the signature.
        data = ["--data-binary", f"@{path}"]
    else:
        try:
            text = signed.body.decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            reason = "is required: a body that is not text cannot be on a command line"
            raise SettingsInvalid([Problem("--body-file", reason)])
        # --data-raw: --data-binary would read a body that begins with @ as a file name.
        data = ["--data-raw", text]
    words = ["curl", "-i"]
    for name, value in signed.fields.items():
        words += ["-H", f"{name}: {value}"]
    return shlex.join([*words, *data, signed.url])


def _send(signed: Signed) -> Exit:
    """Send the delivery and print the answer."""
    url = urlsplit(signed.url)
    origin = f"{url.scheme}://{url.netloc}"
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    client = HttpClient(origin, None, SEND_SECONDS, time.monotonic)
    try:
        answer = client.call("POST", target, signed.fields, signed.body)
    except NoAnswer as error:
        print(f"no answer ({error.detail})", file=sys.stderr)
        return Exit.API
    print(f"{answer.status} {answer.reason}")
    if text := answer.body.decode("utf-8", "replace"):
        print(text)
    return Exit.OK if answer.status in STATUS_OK else Exit.API
