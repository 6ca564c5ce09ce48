"""
Whether an object that holds a key shows it, in any way that Python shows objects.

This includes frames: debuggers, crash reporters and `TracebackException` with locals show
the `repr` of every local variable of a failed function.
"""

import copy
import gc
import json
import logging
import pickle
import pprint
import reprlib
import string
import sys
import traceback
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.core.keylife.machine import Lifecycle
from sidecar.core.keylife.messages import (
    Loaded,
    OutcomeReported,
    Probe,
    Probed,
    Replay,
    SetCurrent,
    VersionStage,
)
from sidecar.core.keylife.refresh import LifePolicy
from sidecar.core.secrecy.compressed import Inspector
from sidecar.core.secrecy.key_matcher import KeyMatcher
from sidecar.core.secrecy.masking import Masker
from sidecar.core.secrecy.redaction import Redactor
from sidecar.core.secrecy.secret import Credential, Secret, SecretRules, header_line
from sidecar.core.webhooks.signing_keys import parse_key
from sidecar.credential.sources.base import Fetched
from sidecar.rotation.secret_document import CreatedKey
from sidecar.rotation.store import Read
from tests.integration.test_leaks import KEY, assert_hidden
from tests.support.fuzz_rig import KEY as FUZZ_KEY, FuzzRig
from tests.support.simulation import EPOCH, Simulation
from tests.support.virtual_clock import live

SIGNING_KEY: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEEDLES: Final = KeyMatcher([Secret(KEY)], "fln_live_")


def credential() -> Credential:
    """Make one."""
    secret = Secret(KEY)
    return Credential(secret, header_line(SecretRules(), secret), 1, "v1", "v1")


def redactor() -> Redactor:
    """Make a redactor that knows the key."""
    made = Redactor()
    made.hold("a", [Secret(KEY)])
    return made


def masker() -> Masker:
    """Make a masker that holds half a key."""
    made = Masker(NEEDLES)
    made.feed(KEY[:20].encode())
    return made


def inspector() -> Inspector:
    """Make one."""
    return Inspector(NEEDLES, b"gzip")


def exchange() -> Any:
    """Make a call in progress, with its connections."""
    rig = FuzzRig()
    wire = rig.service()
    wire.feed(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhal")
    rig.settle()
    (service,) = rig.server.clients
    return [rig.server, service, service._exchange, rig.upstream[0]._protocol]


MAKERS: Final[list[Callable[[], Any]]] = [
    lambda: Secret(KEY),
    credential,
    lambda: Fetched(KEY, "v1"),
    lambda: Fetched(KEY.encode(), "v1"),
    lambda: CreatedKey("id", Secret(KEY), "a"),
    lambda: Read(Secret(KEY), "v1", 0.0),
    lambda: parse_key(SIGNING_KEY, "v1"),
    lambda: NEEDLES,
    masker,
    inspector,
    redactor,
    lambda: Replay(credential(), "replay"),
    lambda: SetCurrent(credential()),
    lambda: Probe(credential()),
    lambda: Loaded(0.0, VersionStage.CURRENT, credential()),
    lambda: Probed(0.0, credential(), None),
    lambda: OutcomeReported(0.0, credential(), None),
    lambda: Lifecycle(LifePolicy(300, 0, probing=False)),
    exchange,
]
WAYS: Final[dict[str, Callable[[Any], object]]] = {
    "repr": repr,
    "str": str,
    "f-string": lambda held: f"{held}",
    "f-string with =": lambda held: f"{held=}",
    "conversion": lambda held: f"{held!r} {held!s} {held!a}",
    "width": lambda held: f"{held!s:>99}",
    "format": lambda held: str.format("{0} {0!r}", held),
    "percent": lambda held: str.__mod__("%s %r %a", (held, held, held)),
    "template": lambda held: string.Template("$a").substitute(a=held),
    "in a container": lambda held: f"{[held]} {(held,)} { {1: held} }",
    "pprint": pprint.pformat,
    "reprlib": reprlib.repr,
    "ascii": ascii,
    "json": lambda held: json.dumps({"a": held}, default=str),
    "an exception": lambda held: f"{ValueError(held)!r} {ValueError(held)}",
    "a log record": lambda held: logging.LogRecord(
        "a", 10, "a", 1, "%s %r", (held, held), None
    ).getMessage(),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_no_way_to_print_it_shows_the_key(way: Callable[[Any], object]) -> None:
    """This holds for every object that holds a key."""
    for make in MAKERS:
        held = make()
        assert_hidden({type(held).__name__: str(way(held))}, KEY, FUZZ_KEY, SIGNING_KEY)


@pytest.mark.parametrize(
    "way",
    [
        pickle.dumps,
        lambda held: pickle.dumps(held, protocol=0),
        copy.deepcopy,
    ],
    ids=["pickle", "pickle-0", "deepcopy"],
)
def test_no_way_to_carry_it_off_works(way: Callable[[Any], object]) -> None:
    """This holds for a container of such an object, too."""
    for make in MAKERS[:11]:
        with pytest.raises((TypeError, pickle.PicklingError)):
            way({"a": [make()]})


def failing(held: Any) -> None:
    """Fail with an object among the locals, its container and its method."""
    kept, method = {"a": [held]}, getattr(held, "reveal", None)
    message = f"{kept is None} {method is None}"
    raise RuntimeError(message, held)


def test_a_traceback_with_locals_shows_no_key() -> None:
    """A crash reporter shows every frame."""
    for make in MAKERS:
        text = ""
        try:
            failing(make())
        except RuntimeError as error:
            shown = traceback.TracebackException.from_exception(
                error, capture_locals=True
            )
            text = "".join(shown.format())
            for frame, _ in traceback.walk_tb(error.__traceback__):
                text += repr(frame.f_locals)
        # The constants of this module are not part of the test.
        assert_hidden({make.__name__: text}, KEY, SIGNING_KEY)


def test_a_rotation_releases_the_old_keys() -> None:
    """The credential manager holds the current and the previous key, no older one."""
    rig = Simulation()
    rig.issue("v0")
    held: list[weakref.ref[Secret]] = []

    async def rotate() -> None:
        async with rig.running():
            await rig.manager.wait(5)
            for number in range(1, 101):
                rig.issue(f"v{number}", EPOCH + number)
                rig.revoke(f"v{number - 1}")
                assert await rig.burst(2) == Counter({200: 2})
                held.extend(map(weakref.ref, rig.learned[-1]))
                rig.learned.clear()
            gc.collect()
            alive = {secret.reveal() for one in held if (secret := one())}
            assert alive <= {"key-v100", "key-v99"}

    live(rotate())
    assert len(held) >= 100


def test_the_standard_hooks_are_not_used_in_the_product() -> None:
    """No module names a function that prints local variables or raw exceptions."""
    root = Path(sys.modules["sidecar"].__path__[0])
    banned = ("capture_locals", "print_exc", "format_exc", "cgitb", "rich.traceback")
    for path in root.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for name in banned:
            assert name not in text, f"{name} in {path.name}"
