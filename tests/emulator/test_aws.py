"""The emulated Secrets Manager, and the switchboard before it."""

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sidecar.emulator.aws import AwsClient, OneAtATime, environment
from tests.support.faulty_aws import AwsFault, FaultyAws


def value(aws: AwsClient, stage: str) -> str:
    """Read the secret of these tests."""
    found = aws.secrets.get_secret_value(SecretId="s", VersionStage=stage)
    return found["SecretString"]


@pytest.fixture(name="behind")
def _behind(moto: AwsClient, faulty_aws: FaultyAws) -> AwsClient:
    """A client that goes through the switchboard; it does not try again."""
    moto.put_secret("s", "one", {"owner": "crm-platform"})
    client = AwsClient(faulty_aws.endpoint)
    config = Config(retries={"total_max_attempts": 1}, read_timeout=1, proxies={})
    client.secrets = client._session.client(
        "secretsmanager", endpoint_url=faulty_aws.endpoint, config=config
    )
    return client


def test_a_rotation_moves_the_stages(moto: AwsClient) -> None:
    """Staged, the new value is pending; promoted, it is current and the old previous."""
    first = moto.put_secret("s", "one")
    second = moto.stage("s", "two")
    before = value(moto, "AWSCURRENT")
    moto.promote("s", second)

    assert before == "one"
    assert (value(moto, "AWSCURRENT"), value(moto, "AWSPREVIOUS")) == ("two", "one")
    assert moto.version("s", "AWSCURRENT") == second
    assert moto.version("s", "AWSPREVIOUS") == first


def test_a_second_rotation_drops_the_oldest(moto: AwsClient) -> None:
    """There is one previous value at most."""
    moto.put_secret("s", "one")
    moto.rotate("s", "two")
    moto.rotate("s", "three")

    assert value(moto, "AWSPREVIOUS") == "two"


def test_a_stage_that_nobody_has_is_an_error(moto: AwsClient) -> None:
    """A new secret has no previous version."""
    moto.put_secret("s", b"\0\1")

    with pytest.raises(KeyError):
        moto.version("s", "AWSPREVIOUS")


def test_one_call_at_a_time_is_answered() -> None:
    """As on AWS, nobody writes between another's condition and its write."""
    inside = threading.Semaphore(1)

    def application(*_: Any) -> list[bytes]:
        alone = inside.acquire(blocking=False)
        time.sleep(0.02)
        if alone:
            inside.release()
        return [b"alone" if alone else b"not alone"]

    serial = OneAtATime(application)

    def call(_: int) -> list[bytes]:
        environ: dict[str, Any] = {}
        setup_testing_defaults(environ)
        return list(serial(environ, lambda *_: lambda _: None))

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(call, range(16))) == [[b"alone"]] * 16


def test_a_client_that_stops_in_its_body_stops_nobody_else(moto: AwsClient) -> None:
    """It waits alone."""
    moto.put_secret("s", "one")
    host, _, port = moto.endpoint.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), 5) as stuck:
        stuck.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        time.sleep(0.1)

        assert value(moto, "AWSCURRENT") == "one"


def test_a_persons_own_aws_settings_stay_out() -> None:
    """Whatever AWS variables there are, the emulator's replace them."""
    env = environment({"PATH": "/bin", "AWS_PROFILE": "prod", "AWS_SESSION_TOKEN": "x"})

    assert env["PATH"] == "/bin"
    assert "AWS_PROFILE" not in env
    assert "AWS_SESSION_TOKEN" not in env
    assert env["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull


def test_the_switchboard_passes_calls_on(
    behind: AwsClient, faulty_aws: FaultyAws
) -> None:
    """Without a fault nothing shows, but the count."""
    assert value(behind, "AWSCURRENT") == "one"
    assert faulty_aws.calls == {"GetSecretValue": 1}


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        pytest.param(AwsFault(error="AccessDeniedException"), ClientError, id="denied"),
        pytest.param(AwsFault(hang=True), BotoCoreError, id="hang"),
        # botocore takes a cut answer for a whole one without anything in it.
        pytest.param(AwsFault(cut=True), KeyError, id="cut"),
        pytest.param(
            AwsFault(error="InternalServiceError", status=500), ClientError, id="5xx"
        ),
    ],
)
def test_a_fault_meets_the_calls_until_it_is_cleared(
    behind: AwsClient, faulty_aws: FaultyAws, fault: AwsFault, raised: Any
) -> None:
    """Another operation goes on; without the fault this one does too."""
    faulty_aws.fail(
        AwsFault(**{**vars(fault), "operation": "GetSecretValue"}),
    )
    behind.secrets.describe_secret(SecretId="s")
    with pytest.raises(raised):
        value(behind, "AWSCURRENT")
    faulty_aws.fail()

    assert value(behind, "AWSCURRENT") == "one"


def test_an_answer_can_be_made_up(behind: AwsClient, faulty_aws: FaultyAws) -> None:
    """A success without a secret in it."""
    faulty_aws.fail(AwsFault(body=b"{}"))

    assert "SecretString" not in behind.secrets.get_secret_value(SecretId="s")


def test_the_switchboard_can_refuse_connections(
    behind: AwsClient, faulty_aws: FaultyAws
) -> None:
    """Closed and opened again, on the same port."""
    faulty_aws.refuse()
    with pytest.raises(BotoCoreError):
        value(behind, "AWSCURRENT")
    faulty_aws.listen()

    assert value(behind, "AWSCURRENT") == "one"
