"""The client of the key API, over a caller in memory."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from sidecar.core.rotation.facts import Proof, RotationStopped
from sidecar.core.secrecy.secret import Secret, SecretRules
from sidecar.errors import Exit
from sidecar.http_client import Fault, HttpClient, NoAnswer, ReceivedResponse
from sidecar.rotation.key_answers import CreateUnsure, Unreadable
from sidecar.rotation.key_api import KeyApi
from sidecar.rotation.options import ApiOptions
from tests.support.rotation_fakes import FakeTime

OPTIONS = ApiOptions(
    base_url="https://api.example/v1", account="sa/../1", probe="GET /contacts?limit=1"
)
KEYS = "/service-accounts/sa%2F..%2F1/api-keys"
OK = ReceivedResponse(200, b'{"data": []}')
Answer = ReceivedResponse | NoAnswer


class FakeHttpClient(HttpClient):
    """Gives prepared answers, the last one again and again."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, str, dict[str, str], bytes | None]] = []

    def call(
        self, method: str, target: str, fields: Mapping[str, str], body: bytes | None
    ) -> ReceivedResponse:
        """Note the call, give the next answer."""
        self.calls.append((method, target, dict(fields), body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, NoAnswer):
            raise answer
        return answer


def make(
    *answers: Answer,
    options: ApiOptions = OPTIONS,
    rules: SecretRules | None = None,
    managers: tuple[str, ...] = ("manager", "renewed"),
) -> tuple[KeyApi, FakeHttpClient, FakeTime]:
    """A client whose manager's key changes when it is read anew."""
    caller, time = FakeHttpClient(*answers), FakeTime()

    def manager(fresh: bool) -> Secret:
        return Secret(managers[fresh])

    api = KeyApi(options, rules or SecretRules(), manager, caller, time.clock())
    return api, caller, time


def test_a_key_is_made_under_its_name() -> None:
    """One call, with the manager's key, ids as one path segment each."""
    api, caller, _ = make(ReceivedResponse(201, b'{"id": "k1", "key": "fln_live_x"}'))

    made = api.create("production-crm-sync-0")

    assert made.secret.reveal() == "fln_live_x"
    assert caller.calls == [
        (
            "POST",
            KEYS,
            {"Authorization": "Bearer manager", "Content-Type": "application/json"},
            b'{"name": "production-crm-sync-0"}',
        )
    ]


def test_an_api_without_names_is_sent_none() -> None:
    """`name_field = ""`."""
    api, caller, _ = make(
        ReceivedResponse(201, b'{"id": "k1", "key": "x"}'),
        options=replace(OPTIONS, name_field=""),
    )

    api.create("n")

    assert caller.calls[0][3] == b"{}"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(NoAnswer(Fault.TIMEOUT), id="timeout"),
        pytest.param(NoAnswer(Fault.PROTOCOL), id="cut"),
        pytest.param(ReceivedResponse(500, b""), id="500"),
        pytest.param(ReceivedResponse(503, b""), id="503"),
        pytest.param(ReceivedResponse(201, b"{}"), id="no-field"),
    ],
)
def test_a_create_call_is_sent_once(answer: Answer) -> None:
    """Whether it made a key is seen in the list: sent again, it could make two."""
    api, caller, _ = make(answer)

    with pytest.raises(CreateUnsure):
        api.create("n")

    assert len(caller.calls) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422, 429])
def test_a_refused_create_call_made_no_key(status: int) -> None:
    """So nothing has to be cleared away."""
    api, _, _ = make(ReceivedResponse(status, b'{"error": "fln_live_x"}'))

    with pytest.raises(RotationStopped) as caught:
        api.create("n")

    assert not isinstance(caught.value, CreateUnsure)
    assert "fln_live" not in str(caught.value)


def test_the_managers_key_is_read_anew_after_a_401() -> None:
    """It may have been rotated as well; the refused call has done nothing."""
    api, caller, _ = make(ReceivedResponse(401, b""), OK)

    api.list_keys()

    sent = [fields["Authorization"] for _, _, fields, _ in caller.calls]
    assert sent == ["Bearer manager", "Bearer renewed"]


def test_a_managers_key_that_stays_refused_is_told() -> None:
    """Exit code 3."""
    api, caller, _ = make(ReceivedResponse(401, b""))

    with pytest.raises(RotationStopped, match=r"rotation.credential.*401") as caught:
        api.list_keys()

    assert caught.value.exit is Exit.CREDENTIAL
    assert len(caller.calls) == 2


def test_every_page_is_read() -> None:
    """From the last id of the page before."""
    first = {"data": [{"id": "k1"}, {"id": "k/2"}], "has_more": True}
    api, caller, _ = make(
        ReceivedResponse(200, json.dumps(first).encode()),
        ReceivedResponse(200, b'{"data": [{"id": "k3"}]}'),
    )

    keys = api.list_keys()

    assert [key.key_id for key in keys] == ["k1", "k/2", "k3"]
    assert caller.calls[1][1] == f"{KEYS}?starting_after=k%2F2"


def test_a_list_without_end_is_refused() -> None:
    """It would never be complete."""
    api, _, _ = make(
        ReceivedResponse(200, b'{"data": [{"id": "k"}], "has_more": true}')
    )

    with pytest.raises(Unreadable):
        api.list_keys()


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(NoAnswer(Fault.TIMEOUT), id="timeout"),
        pytest.param(NoAnswer(Fault.UNREACHABLE), id="refused"),
        pytest.param(ReceivedResponse(503, b""), id="503"),
        pytest.param(ReceivedResponse(429, b""), id="429"),
    ],
)
def test_looks_and_revocations_are_patient(bad: Answer) -> None:
    """They may be sent again."""
    api, caller, time = make(bad, bad, ReceivedResponse(204, b""))

    assert api.revoke("k1")

    assert len(caller.calls) == 3
    assert time.slept == 2.0


def test_a_certificate_that_is_not_trusted_is_not_tried_again() -> None:
    """It will not be in a second."""
    api, caller, _ = make(NoAnswer(Fault.TLS))

    with pytest.raises(RotationStopped, match="certificate") as caught:
        api.list_keys()

    assert "ca_file" in caught.value.remedy
    assert len(caller.calls) == 1


def test_a_revocation_that_keeps_failing_is_told() -> None:
    """The key may still work: the next run goes on."""
    api, _, _ = make(ReceivedResponse(500, b""))

    with pytest.raises(RotationStopped, match="revoking key k1: the API answered 500"):
        api.revoke("k1")


def test_a_key_that_is_gone_is_gone() -> None:
    """404."""
    api, caller, _ = make(ReceivedResponse(404, b""))

    assert not api.revoke("k/1")
    assert caller.calls[0][:2] == ("DELETE", f"{KEYS}/k%2F1")


@pytest.mark.parametrize(
    ("answers", "proof"),
    [
        pytest.param([ReceivedResponse(200, b"")], Proof.PROVEN, id="200"),
        pytest.param([ReceivedResponse(403, b"")], Proof.PROVEN, id="403"),
        pytest.param([ReceivedResponse(404, b"")], Proof.PROVEN, id="404"),
        pytest.param(
            [ReceivedResponse(401, b""), ReceivedResponse(200, b"")],
            Proof.PROVEN,
            id="settles",
        ),
        pytest.param([ReceivedResponse(401, b"")], Proof.REFUSED, id="401"),
        pytest.param([ReceivedResponse(503, b"")], Proof.SILENT, id="503"),
        pytest.param([ReceivedResponse(429, b"")], Proof.SILENT, id="429"),
        pytest.param([ReceivedResponse(302, b"")], Proof.SILENT, id="302"),
        pytest.param([NoAnswer(Fault.TIMEOUT)], Proof.SILENT, id="timeout"),
        pytest.param(
            [NoAnswer(Fault.UNREACHABLE), ReceivedResponse(204, b"")],
            Proof.PROVEN,
            id="comes-back",
        ),
    ],
)
def test_a_key_is_proven_by_any_answer_that_knows_it(
    answers: list[Answer], proof: Proof
) -> None:
    """An error of the server proves nothing: the old key would be revoked for it."""
    api, _, time = make(*answers)

    assert api.prove(Secret("new")) is proof
    assert time.slept <= OPTIONS.settle_seconds + 1


def test_a_proof_is_the_probe_with_the_key_itself() -> None:
    """Sent as the sidecar sends it."""
    api, caller, _ = make(OK, rules=SecretRules(header="X-Api-Key", scheme=""))

    api.prove(Secret("new"))

    assert caller.calls == [("GET", "/contacts?limit=1", {"X-Api-Key": "new"}, None)]


def test_without_a_probe_a_list_call_proves() -> None:
    """The key may not manage keys, but 403 means that it is known."""
    api, caller, _ = make(
        ReceivedResponse(403, b""), options=replace(OPTIONS, probe="")
    )

    assert api.prove(Secret("new")) is Proof.PROVEN
    assert caller.calls[0][:2] == ("GET", KEYS)
