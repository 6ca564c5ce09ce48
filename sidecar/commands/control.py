"""`wait`, `reload` and `quit`: commands that call the admin port of a running sidecar."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from sidecar.commands.support import seconds, settings_of
from sidecar.errors import Exit, Problem, RefreshResult, SettingsInvalid
from sidecar.http_client import HttpClient, NoAnswer
from sidecar.settings.names import TABLE_NAME
from sidecar.settings.urls import check_url
from sidecar.settings.values import Address

CALL_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 0.1
"""Between two calls of `wait`."""
OK: Final = 200
SUCCESS: Final = range(200, 300)
REFRESH_FAILED: Final = 502
"""`/-/reload`: at least one source failed; the old key stays in use."""
CALLABLE_HOSTS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared)


@dataclass(frozen=True, slots=True)
class AdminResponse:
    """The answer of the admin port; status 0 = no answer, and `text` is the reason."""

    status: int
    text: str

    @property
    def good(self) -> bool:
        """Whether the status is 2xx."""
        return self.status in SUCCESS


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the option for the address of the admin port."""
    parser.add_argument(
        "--url",
        metavar="URL",
        help="admin port of the sidecar; unset = admin.listen of the settings",
    )


def configure_wait(parser: argparse.ArgumentParser) -> None:
    """Add the options of `wait`."""
    configure(parser)
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="how long to wait (default: 60; inf: no limit); then the exit code is 5",
    )


def wait(
    args: argparse.Namespace,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Exit:
    """Wait until a running sidecar has had a key for every upstream."""
    target = target_of(args)
    end = monotonic() + args.timeout
    while True:
        left = max(end - monotonic(), PAUSE_SECONDS)
        answer = call("GET", target, "/startupz", min(left, CALL_SECONDS))
        if answer.status == OK:
            print("ready")
            return Exit.OK
        if monotonic() >= end:
            reason = explain(target, answer)
            print(f"not ready after {args.timeout:g} s: {reason}", file=sys.stderr)
            return Exit.TIMED_OUT
        sleep(min(PAUSE_SECONDS, max(end - monotonic(), 0)))


def reload(args: argparse.Namespace) -> Exit:
    """Make a running sidecar refresh its keys now."""
    target = target_of(args)
    answer = call("POST", target, "/-/reload", CALL_SECONDS)
    if not answer.good and answer.status != REFRESH_FAILED:
        print(f"sidecar: {explain(target, answer)}", file=sys.stderr)
        return Exit.UNEXPECTED
    print(*_refresh_results(answer.text) or ["under way"], sep="\n")
    return Exit.OK if answer.good else Exit.CREDENTIAL


def _refresh_results(text: str) -> list[str]:
    """Return a line per refresh; an answer of another program gives none."""
    try:
        results = json.loads(text)["reload"]
        return [
            f"{name}: {RefreshResult(result)}"
            for name, result in results.items()
            if TABLE_NAME.fullmatch(name)
        ]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []


def quit_sidecar(args: argparse.Namespace) -> Exit:
    """Make a running sidecar drain and exit, as SIGTERM does."""
    target = target_of(args)
    answer = call("POST", target, "/-/quit", CALL_SECONDS)
    if not answer.good:
        print(f"sidecar: {explain(target, answer)}", file=sys.stderr)
        return Exit.UNEXPECTED
    print("draining")
    return Exit.OK


def target_of(args: argparse.Namespace) -> Address:
    """
    Return the address of the admin port.

    Raises:
        SettingsInvalid: `--url` is not an http URL, or the settings name no fixed port.
    """
    if args.url is not None:
        try:
            parts = urlsplit(check_url(args.url))
        except ValueError as exc:
            raise SettingsInvalid(
                [Problem("--url", str(exc), "http://127.0.0.1:8701")]
            ) from None
        if parts.scheme != "http":
            problem = Problem("--url", "must be http://", "http://127.0.0.1:8701")
            raise SettingsInvalid([problem])
        return Address(parts.hostname or "", parts.port or 80)
    listen = settings_of(args).admin.listen
    if not listen.port:
        reason = "leaves the port to the system, so --url is required"
        raise SettingsInvalid([Problem("admin.listen", reason)])
    return reachable(listen)


def reachable(listen: Address) -> Address:
    """Return the address at which a client reaches a listener: never 0.0.0.0."""
    return Address(CALLABLE_HOSTS.get(listen.host, listen.host), listen.port)


def call(method: str, target: Address, path: str, seconds: float) -> AdminResponse:
    """Make one call within `seconds`; a missing answer has status 0."""
    client = HttpClient(f"http://{target}", None, seconds, time.monotonic)
    try:
        response = client.call(method, path, {}, None)
    except NoAnswer as exc:
        return AdminResponse(0, exc.detail)
    return AdminResponse(response.status, response.body.decode(errors="replace"))


def explain(target: Address, answer: AdminResponse) -> str:
    """Describe an unsuccessful answer in one line."""
    if not answer.status:
        return f"no sidecar answers at {target}: {answer.text.lower()}"
    return f"the admin port at {target} answered {answer.status}"
