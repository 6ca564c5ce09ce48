"""An API that sends its answer byte by byte, or goes away at any byte of it."""

import time
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.attack_rig import HOST, AttackRig, attacked
from tests.support.raw_http import KEY, Conversation, RawClient, Seen

GET: Final = b"GET /contacts HTTP/1.1\r\n%b\r\n" % HOST
# The key is in both, so that what is masked may be cut, too.
BODY: Final = b"a" + KEY.encode() + b"z"
MASKED: Final = b"a" + b"*" * len(KEY) + b"z"
LENGTH: Final = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (BODY[:5], len(BODY) - 5, BODY[5:])  # fmt: skip
ANSWERS: Final = [
    pytest.param(LENGTH, id="length"),
    pytest.param(CHUNKED, id="chunked"),
]


@pytest.fixture(name="rig", scope="module")
def _rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackRig]:
    """One sidecar for all rows."""
    with attacked(tmp_path_factory.mktemp("pieces")) as rig:
        yield rig


def call(rig: AttackRig) -> Seen:
    """Make a call, and see that nothing of the key comes back."""
    with RawClient(rig.address) as client:
        client.send(GET)
        seen = client.answer()
        assert KEY.encode() not in client.raw
    return seen


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
def test_leaving_at_any_byte_is_never_an_end(
    rig: AttackRig, answer: bytes, reset: bool
) -> None:
    """In the head it is a 502; after it, the service sees a cut."""
    head = answer.index(b"\r\n\r\n") + 4
    for cut in range(len(answer)):

        def script(conversation: Conversation, cut: int = cut) -> None:
            if conversation.request() is not None:
                conversation.send(answer[:cut])
                if reset:
                    conversation.reset()

        rig.api.hang_up()
        rig.api.script = script
        seen = call(rig)

        if cut < head or seen.code:  # a reset may overtake what was sent before it
            assert cut < head or reset, cut
            assert (seen.status, seen.code) == (502, "upstream_protocol"), cut
        else:
            assert (seen.status, seen.whole) == (200, False), cut
            assert MASKED.startswith(seen.body), cut
    rig.healthy()


@pytest.mark.parametrize("answer", ANSWERS)
def test_one_byte_at_a_time_is_the_same_answer(rig: AttackRig, answer: bytes) -> None:
    """Masked, too."""

    def script(conversation: Conversation) -> None:
        while conversation.request() is not None:
            for at in range(len(answer)):
                conversation.send(answer[at : at + 1])
                time.sleep(0.001)  # a piece of its own

    rig.api.hang_up()
    rig.api.script = script
    for _ in range(2):
        seen = call(rig)
        assert (seen.status, seen.code, seen.whole) == (200, "", True)
        assert seen.body == MASKED
    rig.healthy()
