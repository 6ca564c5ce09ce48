"""
What Secrets Manager may get wrong, in front of a real process with a real botocore.

Once there is a key, none of it costs a call: still serving the last good key, readiness stays
green, and metrics, log and status say what is wrong and what to do. What it means before
there is a key is in `test_bad_input_start.py`.
"""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from sidecar.emulator.aws import EmulatedAws
from sidecar.emulator.ca import Certificate
from sidecar.errors import RefreshResult
from tests.support.bad_input import Witness, serves
from tests.support.default_sidecar import DefaultSidecar, default_sidecar
from tests.support.faulty_aws import AwsFault
from tests.support.processes import SECRET_ID, UPSTREAM

AWS_TEXT: Final = "as the test asked for"
"""What the faulty_aws says in its errors: AWS's own words are never ours."""
DENIED, THROTTLED = RefreshResult.DENIED, RefreshResult.THROTTLED
UNREACHABLE, NOT_FOUND = RefreshResult.UNREACHABLE, RefreshResult.NOT_FOUND
DESCRIBE, GET_VALUE = "DescribeSecret", "GetSecretValue"


class AwsRig(DefaultSidecar):
    """What a test may do to it."""

    def reload(self) -> dict[str, str]:
        """Make it look now; returns how the looks ended."""
        ended: dict[str, str] = self.process.admin("/-/reload", "POST").json()["reload"]
        return ended

    def rotate(self) -> None:
        """Store a new key that works, as AWSCURRENT."""
        self.keys.append(self.api.issue())
        self.moto.rotate(SECRET_ID, self.keys[-1].key)

    def state(self) -> str:
        """Return the state that the metrics show; there is exactly one."""
        metrics = self.process.metrics()
        name = "sidecar_credential_state"
        (state,) = [
            labels["state"]
            for labels in metrics.labels(name)
            if metrics.value(name, **labels)
        ]
        return state


@pytest.fixture(name="rig", scope="module")
def _rig(
    moto_server: EmulatedAws,
    certificate: Certificate,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AwsRig]:
    """One process for all rows, on the newest key."""
    directory = tmp_path_factory.mktemp("aws")
    with default_sidecar(moto_server, certificate, directory, level="debug") as parts:
        yield AwsRig(**vars(parts))
        assert AWS_TEXT not in parts.process.output()


def fault(name: str, fault: AwsFault, result: RefreshResult, words: str) -> Any:
    """Make a row: what AWS does, the result that is counted, words of the log line."""
    return pytest.param(fault, result, words, id=name)


def error(code: str, operation: str = DESCRIBE, status: int = 400) -> AwsFault:
    """Return a fault by AWS's name for it."""
    return AwsFault(error=code, operation=operation, status=status)


FAULTS: Final = [
    fault("not-found", error("ResourceNotFoundException"), NOT_FOUND, "does not exist"),
    fault("deleted", error("InvalidRequestException"), NOT_FOUND, "scheduled for deletion"),
    fault("denied", error("AccessDeniedException"), DENIED, "AWS denies DescribeSecret"),
    fault("denied-value", error("AccessDeniedException", GET_VALUE), DENIED, "AWS denies GetSecretValue"),
    fault("kms", error("DecryptionFailure", GET_VALUE), DENIED, "KMS key"),
    fault("kms-denied", error("KMSAccessDeniedException", GET_VALUE), DENIED, "KMS key"),
    fault("expired", error("ExpiredTokenException"), DENIED, "credentials have expired"),
    fault("unknown-client", error("UnrecognizedClientException"), DENIED, "does not know the credentials"),
    fault("signature", error("InvalidSignatureException"), DENIED, "signature"),
    fault("throttled", error("ThrottlingException"), THROTTLED, "AWS throttles DescribeSecret"),
    fault("throttled-value", error("TooManyRequestsException", GET_VALUE, 429), THROTTLED, "AWS throttles GetSecretValue"),
    fault("server-error", error("InternalServiceError", status=500), UNREACHABLE, "server error (500)"),
    fault("cut", AwsFault(cut=True), UNREACHABLE, "AWS"),
    fault("html", AwsFault(body=b"<html>proxy</html>"), UNREACHABLE, "unreadable"),
    fault("empty", AwsFault(body=b"{}"), UNREACHABLE, "unreadable"),
    fault("no-value", AwsFault(body=b'{"VersionId": "v"}', operation=GET_VALUE), UNREACHABLE, "unreadable"),
    fault("no-current", AwsFault(body=b'{"ARN": "a", "VersionIdsToStages": {"v": ["AWSPENDING"]}}', operation=DESCRIBE), NOT_FOUND, "AWSCURRENT"),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "result", "words"), FAULTS)
def test_a_fault_of_aws_costs_no_call(
    rig: AwsRig, fault: AwsFault, result: RefreshResult, words: str
) -> None:
    """The last good key serves on; result, log line, status and state tell why."""
    if fault.operation == GET_VALUE:  # asked only for a version that is new
        rig.rotate()
    rig.faulty_aws.fail(fault)
    before = Witness(rig.process)

    assert rig.reload() == {UPSTREAM: result}
    told(rig, before, result, words)

    rig.faulty_aws.fail()
    looked = "changed" if fault.operation == GET_VALUE else "unchanged"
    assert rig.reload() == {UPSTREAM: looked}
    mended(rig)


def told(rig: AwsRig, before: Witness, result: RefreshResult, words: str) -> None:
    """Hold metrics, log, status and readiness to what a failed look must show."""
    assert before.grew("sidecar_credential_refreshes_total", result=result) >= 1
    line = before.wait_told("credential_refresh_failed")
    assert words in line["reason"]
    assert line["effect"] == "still serving the last good key"
    assert (line["level"], line["upstream"]) == ("warning", UPSTREAM)
    status = rig.process.status()["upstreams"][UPSTREAM]
    assert words in status["last_error"]
    assert status["remedy"]
    assert status["state"] == rig.state() == "stale"
    assert rig.process.admin("/readyz").status == 200
    serves(rig.process.address())


def mended(rig: AwsRig) -> None:
    """Hold everything to being as it was, on the newest key."""
    version = rig.moto.version(SECRET_ID, "AWSCURRENT")
    status = rig.process.status()["upstreams"][UPSTREAM]
    assert (status["state"], status["last_error"]) == ("fresh", None)
    assert status["fingerprint"] == version[:8]
    serves(rig.process.address())


def test_an_aws_that_does_not_listen_costs_no_call(rig: AwsRig) -> None:
    """Refused connections: counted as unreachable, with the network as the remedy."""
    rig.faulty_aws.refuse()
    try:
        before = Witness(rig.process)
        assert rig.reload() == {UPSTREAM: UNREACHABLE}
        told(rig, before, UNREACHABLE, "cannot be reached")
    finally:
        rig.faulty_aws.listen()

    assert rig.reload() == {UPSTREAM: "unchanged"}
    mended(rig)


def test_an_aws_that_never_answers_costs_no_call(rig: AwsRig) -> None:
    """The look ends in its time; until then the admin port says that it goes on."""
    rig.faulty_aws.fail(AwsFault(hang=True))
    before = Witness(rig.process)
    asked = rig.process.admin("/-/reload", "POST")
    serves(rig.process.address())

    assert (asked.status, asked.json()) == (202, {"reload": "under way"})
    before.wait_told("credential_refresh_failed")
    told(rig, before, UNREACHABLE, "did not answer in time")
    rig.faulty_aws.fail()
    assert rig.reload() == {UPSTREAM: "unchanged"}
    mended(rig)
