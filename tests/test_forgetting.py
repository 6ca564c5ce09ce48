"""When keys are wiped: as soon as nobody holds them, and for good a day later."""

import logging
from collections.abc import Iterator
from functools import partial

import pytest

from sidecar.assembly import forgetting
from sidecar.assembly.forgetting import ROUND_SECONDS, Forgetter
from sidecar.core.secrecy.redaction import REMEMBERED_SECONDS, Redactor
from sidecar.core.secrecy.secret import Secret
from sidecar.webhook.secrets import SecretsOptions, WebhookSecrets
from tests.support.webhook_fakes import (
    OTHER as OTHER_WEBHOOK,
    SECRET as WEBHOOK,
    FakeSource,
)


def key(number: int) -> str:
    """Make a key."""
    return f"fln_live_forgetting_{number:010}"


class Rig:
    """A forgetter whose searches are only noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.searches: list[tuple[list[str], list[str]]] = []
        self.steps = [1, 0]
        self.redactor = Redactor()
        self.forgetter = Forgetter(self.redactor, lambda: self.now, self.pause)
        monkeypatch.setattr(forgetting, "wipe", self.wipe)

    async def pause(self, seconds: float) -> None:
        """Note it; a long one ends the test."""
        self.pauses.append(seconds)
        if len(self.pauses) > 50:
            raise TimeoutError

    def wipe(self, values: list[str], keep: tuple[str, ...]) -> Iterator[int]:
        """Note it."""
        self.searches.append((list(values), list(keep)))
        yield from self.steps


@pytest.fixture(name="rig")
def _rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    """One."""
    return Rig(monkeypatch)


async def test_a_key_that_was_let_go_is_wiped_once_but_in_the_redactor(
    rig: Rig,
) -> None:
    """After a day it is wiped there, too, with all its encodings."""
    rig.forgetter.hold("a", (Secret(key(1)),))
    await rig.forgetter.round()
    assert rig.searches == []

    rig.forgetter.hold("a", (Secret(key(2)),))
    await rig.forgetter.round()
    await rig.forgetter.round()
    assert rig.searches == [([key(1)], [key(1)])]

    rig.now = REMEMBERED_SECONDS
    await rig.forgetter.round()
    (_, (gone, keep)) = rig.searches
    assert key(1) in gone
    assert key(1).encode().hex() in gone
    assert keep == []


async def test_a_key_that_a_call_still_holds_is_not_wiped(rig: Rig) -> None:
    """It would be sent as zeros."""
    old = Secret(key(1))
    rig.forgetter.hold("a", (old,))
    rig.forgetter.hold("a", (Secret(key(2)),))
    await rig.forgetter.round()
    assert rig.searches == []

    del old
    await rig.forgetter.round()

    assert rig.searches == [([key(1)], [key(1)])]


LONG = "fln_live_forgetting_and_remembering"


@pytest.mark.parametrize("owner", ["a", "b"], ids=["same-upstream", "another"])
@pytest.mark.parametrize(
    "part", [LONG[:-2], LONG[4:-4], LONG[3:]], ids=["beginning", "middle", "end"]
)
async def test_a_part_of_a_key_in_use_is_not_wiped(
    rig: Rig, part: str, owner: str
) -> None:
    """It was cut when copied; where it stands, the whole one may be."""
    rig.forgetter.hold("a", (Secret(part),))
    rig.forgetter.hold("a", ())
    rig.forgetter.hold(owner, (Secret(LONG),))
    await rig.forgetter.round()
    rig.now = REMEMBERED_SECONDS
    await rig.forgetter.round()
    assert rig.searches == []

    rig.forgetter.hold(owner, ())
    await rig.forgetter.round()
    assert rig.searches == [([LONG], [LONG])]


async def test_a_part_of_a_key_that_is_masked_waits_for_it(rig: Rig) -> None:
    """The redactor would no longer know the whole one."""
    rig.forgetter.hold("a", (Secret(LONG[3:]), Secret(LONG)))
    rig.forgetter.hold("a", ())
    await rig.forgetter.round()

    assert rig.searches == [([LONG], [LONG])]
    assert rig.redactor.redact(LONG) == "********"


async def test_a_key_that_comes_back_meanwhile_is_left_alone(rig: Rig) -> None:
    """A rollback does not wait for a search to end."""
    back = Secret(key(1))
    rig.forgetter.hold("a", (Secret(key(1)), Secret(key(2))))
    rig.forgetter.hold("a", ())

    async def rollback(_seconds: float) -> None:
        rig.forgetter.hold("a", (back,))

    rig.forgetter._pause = rollback
    await rig.forgetter.round()

    first, second = rig.searches
    assert first[0] == [key(1), key(2)]
    assert second[0] == [key(2)]


async def test_a_webhook_secret_is_wiped_when_it_was_retired(rig: Rig) -> None:
    """Not while the sender may still sign with it; and it ages as keys do."""
    source = FakeSource(WEBHOOK)
    held = partial(rig.forgetter.hold, "webhooks.inbox")
    options = SecretsOptions(60, lambda: rig.now, lambda: 0.5, on_secrets=held)
    secrets = WebhookSecrets("inbox", source, options)
    await secrets.refresh()
    source.put(OTHER_WEBHOOK)
    await secrets.refresh()
    await rig.forgetter.round()
    assert rig.searches == []

    del source.stages["AWSPREVIOUS"]
    await secrets.refresh()
    await rig.forgetter.round()
    bare = WEBHOOK.removeprefix("whsec_")
    assert rig.searches == [([bare], [bare])]
    assert rig.redactor.redact(f"a {bare} b") == "a ******** b"

    rig.now = REMEMBERED_SECONDS
    await rig.forgetter.round()
    (_, (gone, keep)) = rig.searches
    assert bare in gone
    assert keep == []
    assert repr(rig.redactor) == "Redactor(1 known)"


async def test_a_sandbox_that_forbids_it_is_told_of(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing else fails by it."""
    rig.steps = [-1]
    rig.forgetter.hold("a", (Secret(key(1)),))
    rig.forgetter.hold("a", ())
    with caplog.at_level(logging.WARNING):
        await rig.forgetter.round()

    assert "memory_not_wiped" in caplog.text


async def test_it_goes_on_for_ever(rig: Rig) -> None:
    """A round every half minute."""
    with pytest.raises(TimeoutError):
        await rig.forgetter.run()

    assert set(rig.pauses) == {ROUND_SECONDS}
