"""
Emulated AWS: moto's Secrets Manager and DynamoDB behind real HTTP, for a real boto3.

In a thread (`EmulatedAws`), or as a process: `python -m sidecar.emulator.aws --port 0`
prints one line of JSON. Differences from AWS: callers are not authenticated,
`RotateSecret` does not work (see `rotate`), and DynamoDB's TTL never deletes.
"""

import argparse
import functools
import http.client
import io
import json
import logging
import os
import signal
import threading
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, Self

import boto3
from botocore.config import Config
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server
from werkzeug.wsgi import get_input_stream

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import TagTypeDef

HOST: Final = "127.0.0.1"
REGION: Final = "eu-west-1"
FAKE_KEY: Final = "demo"
"""Both halves of the AWS credentials: the emulator checks neither."""

NO_PROXY: Final = Config(proxies={})
"""Proxy variables of the environment do not apply to loopback."""

ENVIRONMENT: Final = MappingProxyType(
    {
        "AWS_ACCESS_KEY_ID": FAKE_KEY,
        "AWS_SECRET_ACCESS_KEY": FAKE_KEY,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        # The user's own AWS configuration must not be used.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
)
"""For processes that use the emulator, instead of every `AWS_*` they would inherit."""


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with its `AWS_*` replaced by `ENVIRONMENT`."""
    kept = {k: v for k, v in inherited.items() if not k.startswith("AWS_")}
    return kept | ENVIRONMENT


class AwsClient:
    """
    A client that tests and the demo use to set up the emulated AWS.

    Args:
        endpoint: URL of the emulator.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._session = boto3.session.Session(
            aws_access_key_id=FAKE_KEY,
            aws_secret_access_key=FAKE_KEY,
            region_name=REGION,
        )

    @functools.cached_property
    def secrets(self) -> "SecretsManagerClient":
        """A real boto3 client for Secrets Manager."""
        return self._session.client(
            "secretsmanager", endpoint_url=self.endpoint, config=NO_PROXY
        )

    @functools.cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """A real boto3 client for DynamoDB."""
        return self._session.client(
            "dynamodb", endpoint_url=self.endpoint, config=NO_PROXY
        )

    def put_secret(
        self, name: str, value: str | bytes, tags: Mapping[str, str] | None = None
    ) -> str:
        """Make a secret; returns the VersionId that is AWSCURRENT."""
        pairs: list[TagTypeDef] = [
            {"Key": key, "Value": text} for key, text in (tags or {}).items()
        ]
        if isinstance(value, bytes):
            made = self.secrets.create_secret(Name=name, SecretBinary=value, Tags=pairs)
        else:
            made = self.secrets.create_secret(Name=name, SecretString=value, Tags=pairs)
        return made["VersionId"]

    def stage(self, name: str, value: str) -> str:
        """Store a new version as AWSPENDING; returns its VersionId."""
        stored = self.secrets.put_secret_value(
            SecretId=name, SecretString=value, VersionStages=["AWSPENDING"]
        )
        return stored["VersionId"]

    def promote(self, name: str, version_id: str) -> None:
        """Move AWSCURRENT to this version; the one before becomes AWSPREVIOUS."""
        self.secrets.update_secret_version_stage(
            SecretId=name,
            VersionStage="AWSCURRENT",
            MoveToVersionId=version_id,
            RemoveFromVersionId=self.version(name, "AWSCURRENT"),
        )

    def rotate(self, name: str, value: str) -> str:
        """Do what a rotation does to a secret: stage, then promote."""
        version_id = self.stage(name, value)
        self.promote(name, version_id)
        return version_id

    def version(self, name: str, stage: Literal["AWSCURRENT", "AWSPREVIOUS"]) -> str:
        """Find the VersionId that has a stage; `KeyError` when none has it."""
        stages = self.secrets.describe_secret(SecretId=name)["VersionIdsToStages"]
        for version_id, names in stages.items():
            if stage in names:
                return version_id
        raise KeyError(stage)

    def reset(self) -> None:
        """Forget everything that was stored."""
        port = int(self.endpoint.rpartition(":")[2])
        connection = http.client.HTTPConnection(HOST, port, timeout=10)
        try:
            connection.request("POST", "/moto-api/reset")
            connection.getresponse().read()
        finally:
            connection.close()


class OneAtATime:
    """
    A WSGI application that handles one call at a time.

    moto reads an item, checks the condition and writes in three steps, so two threads
    could both succeed with the same conditional write. On AWS only one does.
    """

    def __init__(self, inner: "WSGIApplication") -> None:
        self._inner = inner
        self._lock = threading.Lock()

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one call."""
        # Read outside the lock: a slow client must not delay the others.
        environ["wsgi.input"] = io.BytesIO(get_input_stream(environ).read())
        with self._lock:
            return self._inner(environ, start_response)


class EmulatedAws(AwsClient):
    """The emulator in a thread; a context manager."""

    def __init__(self, port: int = 0) -> None:
        super().__init__("")
        # Without this, werkzeug writes a line for each call to stderr.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._port = port

    def start(self) -> None:
        """Listen."""
        self._server = make_server(
            HOST,
            self._port,
            OneAtATime(DomainDispatcherApplication(create_backend_app)),
            threaded=True,
            request_handler=MotoRequestHandler,
        )
        self.endpoint = f"http://{HOST}:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def main() -> None:
    """Run as a process until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m sidecar.emulator.aws")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    args = parser.parse_args()
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with EmulatedAws(args.port) as aws:
        print(json.dumps({"endpoint_url": aws.endpoint, "region": REGION}), flush=True)
        over.wait()


if __name__ == "__main__":
    main()
