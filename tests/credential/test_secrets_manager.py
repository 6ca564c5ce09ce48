"""Keys from Secrets Manager: real botocore, real HTTP, every failure by its name."""

import asyncio
import json
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from sidecar.aws import client
from sidecar.core.keylife.messages import VersionStage
from sidecar.credential.sources import secrets_manager
from sidecar.credential.sources.secrets_manager import SecretsManagerSource
from sidecar.emulator.aws import AwsClient, environment
from sidecar.errors import RefreshResult, SourceFailed
from tests.support.faulty_aws import AwsFault, FaultyAws

NAME = "prod/flownally/crm-sync"
DENIED, THROTTLED = RefreshResult.DENIED, RefreshResult.THROTTLED
UNREACHABLE, NOT_FOUND = RefreshResult.UNREACHABLE, RefreshResult.NOT_FOUND
INVALID = RefreshResult.INVALID


@pytest.fixture(name="aws_environment", autouse=True)
def _aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's AWS set-up reaches the tests."""
    for name, value in environment({}).items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(name="calls")
def _calls() -> list[tuple[str, str, str]]:
    """What was counted."""
    return []


Make = Callable[..., SecretsManagerSource]


@pytest.fixture(name="make")
def _make(calls: list[tuple[str, str, str]]) -> Iterator[Make]:
    """Make sources, and give their threads back."""
    made: list[SecretsManagerSource] = []

    def make(
        endpoint: str | None,
        name: str = NAME,
        *,
        region: str | None = "eu-west-1",
        now: Callable[[], float] = time.time,
    ) -> SecretsManagerSource:
        source = SecretsManagerSource(
            name,
            region=region,
            endpoint_url=endpoint,
            now=now,
            on_call=lambda *call: calls.append(call),
        )
        made.append(source)
        return source

    yield make
    for source in made:
        source._worker.close()


async def test_versions_are_named_by_their_stages(moto: AwsClient, make: Make) -> None:
    """DescribeSecret: ids and tags, no value."""
    first = moto.put_secret(NAME, "key-1", {"owner": "crm-platform"})
    second = moto.rotate(NAME, "key-2")
    pending = moto.stage(NAME, "key-3")
    versions = await make(moto.endpoint).describe()

    assert versions.current == second
    assert versions.previous == first
    assert versions.pending == pending
    assert versions.tags == {"owner": "crm-platform"}
    assert versions.changed == pytest.approx(time.time(), abs=60)


async def test_a_value_is_fetched_by_its_stage(
    moto: AwsClient, make: Make, calls: list[tuple[str, str, str]]
) -> None:
    """Never without one: some emulators answer with an old version then."""
    first = moto.put_secret(NAME, "key-1")
    second = moto.rotate(NAME, "key-2")
    source = make(moto.endpoint)
    current = await source.fetch(VersionStage.CURRENT)
    previous = await source.fetch("AWSPREVIOUS")

    assert (current.raw, current.version_id) == ("key-2", second)
    assert (previous.raw, previous.version_id) == ("key-1", first)
    assert current.created == pytest.approx(time.time(), abs=60)
    assert "key-2" not in repr(current)
    assert calls == [("secretsmanager", "GetSecretValue", "ok")] * 2


async def test_a_binary_value_stays_bytes(moto: AwsClient, make: Make) -> None:
    """The rules for keys refuse it; the source only tells."""
    moto.put_secret(NAME, b"\x00key")
    fetched = await make(moto.endpoint).fetch("AWSCURRENT")

    assert fetched.raw == b"\x00key"
    assert "key" not in repr(fetched)


FAILURES = [
    # code, status, result, what is told
    ("AccessDeniedException", 400, DENIED, "AWS denies DescribeSecret"),
    ("KMSAccessDeniedException", 400, DENIED, "KMS key"),
    ("DecryptionFailure", 400, DENIED, "KMS key"),
    ("ExpiredTokenException", 400, DENIED, "credentials have expired"),
    ("ExpiredToken", 403, DENIED, "credentials have expired"),
    ("UnrecognizedClientException", 400, DENIED, "does not know the credentials"),
    ("InvalidSignatureException", 400, DENIED, "refuses the signature"),
    ("ThrottlingException", 400, THROTTLED, "throttles"),
    ("TooManyRequestsException", 429, THROTTLED, "throttles"),
    ("SomethingNew", 429, THROTTLED, "throttles"),
    ("ResourceNotFoundException", 400, NOT_FOUND, "does not exist"),
    ("ResourceNotFoundException", 404, NOT_FOUND, "does not exist"),
    ("InvalidRequestException", 400, NOT_FOUND, "scheduled for deletion"),
    ("InvalidParameterException", 400, INVALID, "rejects the parameters"),
    ("InternalServiceError", 500, UNREACHABLE, "server error (500)"),
    ("ServiceUnavailable", 503, UNREACHABLE, "server error (503)"),
    ("SomethingNew", 400, DENIED, "(SomethingNew)"),
    ("what <is> this?", 400, DENIED, "(unknown)"),
]


@pytest.mark.parametrize(
    ("code", "status", "result", "told"),
    [pytest.param(*row, id=f"{row[0]}-{row[1]}") for row in FAILURES],
)
async def test_an_error_of_aws_is_told_in_our_words(
    faulty_aws: FaultyAws,
    make: Make,
    calls: list[tuple[str, str, str]],
    code: str,
    status: int,
    result: RefreshResult,
    told: str,
) -> None:
    """By its code, after one try, without its text."""
    faulty_aws.fail(AwsFault(error=code, status=status))
    with pytest.raises(SourceFailed) as caught:
        await make(faulty_aws.endpoint).describe()

    assert caught.value.result is result
    assert told in caught.value.reason
    assert caught.value.remedy
    assert "as the test asked for" not in str(caught.value)
    assert faulty_aws.calls["DescribeSecret"] == 1
    assert calls == [("secretsmanager", "DescribeSecret", result)]


@pytest.mark.parametrize(
    ("off", "side"), [(3600.0, "3600 s ahead of"), (-3600.0, "3600 s behind")]
)
async def test_a_clock_that_is_wrong_is_named(
    faulty_aws: FaultyAws, make: Make, off: float, side: str
) -> None:
    """AWS refuses the signature; its Date header says why."""
    faulty_aws.fail(AwsFault(error="InvalidSignatureException"))
    source = make(faulty_aws.endpoint, now=lambda: round(time.time()) + off)
    with pytest.raises(SourceFailed) as caught:
        await source.describe()

    seconds = caught.value.reason.partition(" is ")[2].partition(" s ")[0]
    assert int(seconds) == pytest.approx(3600, abs=5)
    assert side.partition(" s ")[2] in caught.value.reason


BODIES = [
    pytest.param(b"", id="empty"),
    pytest.param(b"{}", id="no-members"),
    pytest.param(b"<html>gateway</html>", id="html"),
    pytest.param(b"[1, 2]", id="array"),
    pytest.param(b"null", id="null"),
    pytest.param(b'{"VersionIdsToStages": 5}', id="stages-number"),
    pytest.param(b'{"VersionId": 5, "SecretString": "x"}', id="version-number"),
    pytest.param(b'{"VersionId": "abc"}', id="no-value"),
    pytest.param(b"\xff\xfe", id="no-text"),
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("question", ["describe", "fetch"])
async def test_garbage_with_a_good_status_is_a_failure(
    faulty_aws: FaultyAws, make: Make, body: bytes, question: str
) -> None:
    """Botocore takes some of it for an answer without members."""
    faulty_aws.fail(AwsFault(body=body))
    source = make(faulty_aws.endpoint)
    with pytest.raises(SourceFailed) as caught:
        await (source.fetch("AWSCURRENT") if question == "fetch" else source.describe())

    assert caught.value.result is UNREACHABLE


async def test_an_answer_that_is_cut_is_a_failure(
    faulty_aws: FaultyAws, make: Make
) -> None:
    """Head and half a body."""
    faulty_aws.fail(AwsFault(cut=True))
    with pytest.raises(SourceFailed) as caught:
        await make(faulty_aws.endpoint).describe()

    assert caught.value.result is UNREACHABLE


async def test_an_answer_that_does_not_come_ends_in_time(
    faulty_aws: FaultyAws, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop goes on meanwhile."""
    short = replace(client.SOURCE, read_seconds=0.3)
    monkeypatch.setattr(secrets_manager, "SOURCE", short)
    faulty_aws.fail(AwsFault(hang=True))
    source = make(faulty_aws.endpoint)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(tick())
        with pytest.raises(SourceFailed) as caught:
            await source.describe()
        ticking.cancel()

    assert caught.value.result is UNREACHABLE
    assert caught.value.reason == "AWS did not answer in time"
    assert ticks > 3


async def test_a_refused_connection_is_unreachable(make: Make) -> None:
    """Nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(SourceFailed) as caught:
            await make(f"http://127.0.0.1:{port}").describe()

    assert caught.value.result is UNREACHABLE
    assert caught.value.reason == "AWS cannot be reached"


async def test_a_name_that_does_not_resolve_is_unreachable(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS."""

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(SourceFailed) as caught:
        await make("http://aws.invalid").describe()

    assert caught.value.result is UNREACHABLE
    assert caught.value.reason == "AWS cannot be reached"


async def test_an_endpoint_with_a_password_is_never_told(make: Make) -> None:
    """Neither in the failure nor in its traceback."""
    source = make("http://user:hunter2@127.0.0.1:1")
    with pytest.raises(SourceFailed) as caught:
        await source.describe()
    told = "".join(traceback.format_exception(caught.value)) + repr(source)

    assert "hunter2" not in told
    assert caught.value.__context__ is None


@pytest.mark.parametrize("endpoint", ["nonsense", "http://[", "http://a b"])
async def test_a_malformed_endpoint_is_a_failure(make: Make, endpoint: str) -> None:
    """The settings should have refused it; the process lives all the same."""
    with pytest.raises(SourceFailed) as caught:
        await make(endpoint).describe()

    assert caught.value.result is UNREACHABLE


async def test_no_region_is_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """And which setting has it."""
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with pytest.raises(SourceFailed) as caught:
        await make(None, region=None).describe()

    assert caught.value.reason == "no AWS region is set"
    assert "region" in caught.value.remedy


async def test_a_secret_id_that_is_none_is_told(moto: AwsClient, make: Make) -> None:
    """Botocore refuses it before it is sent."""
    with pytest.raises(SourceFailed) as caught:
        await make(moto.endpoint, "").describe()

    assert caught.value.result is INVALID


async def test_a_secret_that_does_not_exist_is_not_found(
    moto: AwsClient, make: Make
) -> None:
    """404 here, 400 on AWS: the code counts."""
    with pytest.raises(SourceFailed) as caught:
        await make(moto.endpoint).describe()

    assert caught.value.result is NOT_FOUND


async def test_a_secret_that_is_to_be_deleted_is_not_found(
    moto: AwsClient, make: Make
) -> None:
    """DescribeSecret still answers, GetSecretValue does not."""
    moto.put_secret(NAME, "key-1")
    moto.secrets.delete_secret(SecretId=NAME)
    source = make(moto.endpoint)
    with pytest.raises(SourceFailed) as described:
        await source.describe()
    with pytest.raises(SourceFailed) as fetched:
        await source.fetch("AWSCURRENT")

    assert described.value.result is fetched.value.result is NOT_FOUND
    assert "deletion" in described.value.reason


async def test_a_secret_without_a_value_is_not_found(
    faulty_aws: FaultyAws, make: Make
) -> None:
    """It was made, but no key was stored yet."""
    faulty_aws.fail(AwsFault(body=b'{"ARN": "arn:x", "Name": "x"}'))
    with pytest.raises(SourceFailed) as caught:
        await make(faulty_aws.endpoint).describe()

    assert caught.value.result is NOT_FOUND
    assert "AWSCURRENT" in caught.value.reason


async def test_without_credentials_the_next_call_begins_anew(
    moto: AwsClient, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client keeps the absence of credentials, so it is not kept."""
    moto.put_secret(NAME, "key-1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    source = make(moto.endpoint)
    with pytest.raises(SourceFailed) as caught:
        await source.describe()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    versions = await source.describe()

    assert caught.value.result is DENIED
    assert "there are no AWS credentials" in caught.value.reason
    assert versions.current


async def test_credentials_in_a_file_are_read_again_when_they_expired(
    faulty_aws: FaultyAws, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Something outside renews them."""
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id=OLD\naws_secret_access_key=x\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.fspath(file))
    source = make(faulty_aws.endpoint)
    faulty_aws.fail(AwsFault(error="ExpiredTokenException"))
    with pytest.raises(SourceFailed):
        await source.describe()
    file.write_text("[default]\naws_access_key_id=NEW\naws_secret_access_key=x\n")
    faulty_aws.fail(AwsFault(body=b'{"VersionIdsToStages": {"v": ["AWSCURRENT"]}}'))
    await source.describe()

    assert source._client is not None
    assert _key_of(source._client) == "NEW"


async def test_a_profile_that_does_not_exist_is_told(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Botocore refuses to begin."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(SourceFailed) as caught:
        await make("http://127.0.0.1:1").describe()

    assert caught.value.result is DENIED
    assert "profile" in caught.value.reason


async def test_a_proxy_of_the_environment_does_not_apply_to_loopback(
    moto: AwsClient, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An emulator on this machine is asked directly."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    moto.put_secret(NAME, "key-1")
    versions = await make(moto.endpoint).describe()

    assert versions.current


async def test_a_proxy_of_the_environment_that_is_away_is_told(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It applies to AWS, as everywhere else."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(SourceFailed) as caught:
        await make(None).describe()

    assert caught.value.result is UNREACHABLE
    assert "proxy" in caught.value.reason


async def test_secrets_manager_does_not_tell_when_it_moved(make: Make) -> None:
    """It is asked at intervals."""
    source = make(None)

    assert not await source.moved()
    await source.close()


@pytest.mark.parametrize(
    "region",
    [
        "us-east-1",
        "eu-west-1",
        "ap-southeast-7",
        "cn-north-1",
        "us-gov-west-1",
        "us-iso-east-1",
    ],
)
@pytest.mark.parametrize("service", ["secretsmanager", "dynamodb"])
def test_the_lean_client_uses_the_same_endpoint_as_the_full_one(
    region: str, service: Any
) -> None:
    """The lean table of endpoints changes no address."""
    import botocore.session  # noqa: PLC0415 - slow, and only here

    full = botocore.session.get_session().create_client(service, region_name=region)
    lean = client.make_client(service, region, None, client.SOURCE)

    assert lean.meta.endpoint_url == full.meta.endpoint_url
    assert lean.meta.service_model.signing_name == full.meta.service_model.signing_name
    assert vars(lean.meta.config)["retries"]["total_max_attempts"] == 1


def _key_of(client: Any) -> str:
    """Return the access key that a client signs with."""
    key: str = client._request_signer._credentials.access_key
    return key


class TokenServer(HTTPServer):
    """Gives credentials to a pod, or to a role."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TokenHandler)
        self.seen: list[tuple[str, str]] = []


class _TokenHandler(BaseHTTPRequestHandler):
    server: TokenServer

    def do_GET(self) -> None:
        """Answer as the agent of EKS Pod Identity does."""
        self.server.seen.append((self.path, self.headers.get("Authorization", "")))
        self._answer(
            json.dumps(
                {
                    "AccessKeyId": "POD",
                    "SecretAccessKey": "x",
                    "Token": "t",
                    "Expiration": "2099-01-01T00:00:00Z",
                }
            )
        )

    def do_POST(self) -> None:
        """Answer as STS does to AssumeRoleWithWebIdentity."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.seen.append((self.path, body))
        self._answer(
            "<AssumeRoleWithWebIdentityResponse"
            ' xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            "<AssumeRoleWithWebIdentityResult><Credentials>"
            "<AccessKeyId>IRSA</AccessKeyId><SecretAccessKey>x</SecretAccessKey>"
            "<SessionToken>t</SessionToken>"
            "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
            "<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn>"
            "<AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser>"
            "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        )

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def _answer(self, body: str) -> None:
        data = body.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(name="tokens")
def _tokens(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenServer]:
    """A server of credentials, and an environment that has none itself."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    server = TokenServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_pod_identity_gives_the_credentials(
    moto: AwsClient,
    make: Make,
    tokens: TokenServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """EKS: AWS_CONTAINER_CREDENTIALS_FULL_URI and a token in a file."""
    moto.put_secret(NAME, "key-1")
    token = tmp_path / "token"
    token.write_text("pod-token")
    uri = f"http://127.0.0.1:{tokens.server_port}/v1/credentials"
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", os.fspath(token))
    source = make(moto.endpoint)
    await source.describe()

    assert tokens.seen == [("/v1/credentials", "pod-token")]
    assert source._client is not None
    assert _key_of(source._client) == "POD"


async def test_a_service_account_assumes_its_role(
    moto: AwsClient,
    make: Make,
    tokens: TokenServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """IRSA: AWS_ROLE_ARN and a web identity token in a file."""
    moto.put_secret(NAME, "key-1")
    token = tmp_path / "token"
    token.write_text("web-token")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/crm-sync")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", os.fspath(token))
    sts = f"http://127.0.0.1:{tokens.server_port}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts)
    source = make(moto.endpoint)
    await source.describe()

    assert "WebIdentityToken=web-token" in tokens.seen[0][1]
    assert source._client is not None
    assert _key_of(source._client) == "IRSA"


async def test_instance_metadata_that_is_away_is_no_credentials(
    moto: AwsClient, make: Make, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last link of the chain; it is not waited for long."""
    del tokens
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1/")
    with pytest.raises(SourceFailed) as caught:
        await make(moto.endpoint).describe()

    assert caught.value.result is DENIED
