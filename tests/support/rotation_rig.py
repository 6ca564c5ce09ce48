"""
A stage for rotations: emulated AWS and API, a manager's key, and a key in use.

`Gate` stands before both. It lets calls through until the one that a test chooses, and
never answers that one: a process that waits there can be killed exactly between two
steps, after the step has been done and before it could know. It also keeps a condition
of AWS that the emulator does not keep: one value for one ClientRequestToken.
"""

import http.client
import json
import ssl
import threading
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import urlsplit

from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import AwsClient
from sidecar.emulator.key_ring import DEFAULT_ACCOUNT, MANAGE
from tests.support.processes import SECRET_ID, UPSTREAM, Settings, merge

MANAGER_ID: Final = "prod/flownally/key-admin"
JOB: Final = "production-crm-sync"
READS: Final = ("GET", "Describe", "Get", "List")
CHANGES: Final = (
    "POST",
    "PutSecretValue",
    "UpdateSecretVersionStage",
    "UpdateSecretVersionStage",
    "DELETE",
    "TagResource",
)
"""What a rotation without trouble changes, in its order."""


class Stage:
    """
    The peers of a rotation, ready to be rotated.

    Args:
        api: with a service account for the job already.
        moto: empty.
    """

    def __init__(self, api: EmulatedApi, moto: AwsClient) -> None:
        self.api = api
        self.moto = moto
        api.state.ring.add_account("sa_admin", "production-key-admin", [MANAGE])
        self.manager = api.issue("sa_admin")
        moto.put_secret(MANAGER_ID, self.manager.key)
        self.first = api.issue()
        value = {
            "api_key": self.first.key,
            "key_id": self.first.id,
            "service_account_id": DEFAULT_ACCOUNT,
            "note": "kept",
        }
        moto.put_secret(SECRET_ID, json.dumps(value))

    def settings(self, changes: Settings | None = None) -> Settings:
        """Settings for sidecars and for rotations, without any grace."""
        settings: Settings = {
            "job": {"name": JOB, "environment": "production", "owner": "crm-platform"},
            "upstreams": {
                UPSTREAM: {
                    "listen": "127.0.0.1:0",
                    "base_url": self.api.base_url,
                    "ca_file": str(self.api.certificate.ca_file),
                    "credential": {
                        "secret_id": SECRET_ID,
                        "json_key": "api_key",
                        "key_prefix": "fln_live_",
                        "probe": "GET /contacts?limit=1",
                    },
                }
            },
            "admin": {"listen": "127.0.0.1:0"},
            "aws": {"region": "eu-west-1", "endpoint_url": self.moto.endpoint},
            "rotation": {
                "service_account_id": DEFAULT_ACCOUNT,
                "grace_seconds": 0,
                "credential": {"secret_id": MANAGER_ID},
            },
        }
        return merge(settings, changes or {})

    def labels(self) -> dict[str, str]:
        """Label -> VersionId."""
        stages = self.moto.secrets.describe_secret(SecretId=SECRET_ID)
        versions = stages["VersionIdsToStages"]
        return {label: version for version in versions for label in versions[version]}

    def value(self, label: str = "AWSCURRENT") -> dict[str, Any]:
        """Read the value under a label."""
        found = self.moto.secrets.get_secret_value(
            SecretId=SECRET_ID, VersionStage=label
        )
        value: dict[str, Any] = json.loads(found["SecretString"])
        return value

    def live(self) -> list[str]:
        """List the ids of the job's live keys."""
        keys = self.api.state.ring.of_account(DEFAULT_ACCOUNT)
        return [key.id for key in keys if key.revoked is None]

    def check_rotated(self) -> None:
        """A new key is in use, alone, and nothing is half done."""
        value = self.value()
        assert self.live() == [value["key_id"]]
        assert value["key_id"] != self.first.id
        assert value["note"] == "kept"
        assert "AWSPENDING" not in self.labels()
        _, fault = self.api.state.ring.check(f"Bearer {value['api_key']}")
        assert fault is None


class Gate:
    """
    Plain HTTP in front of AWS and the API; a context manager.

    Args:
        stage: whose peers are behind.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.changes: list[str] = []
        """Calls that change something, in their order."""
        self.stop_at = 0
        """Number of the change that is done, but never answered; 0 = none."""
        self.held = threading.Event()
        """Set when a process waits for that answer."""
        self.meet: threading.Barrier | None = None
        """Where those who create keys wait for one another, once they have one."""
        self._lock = threading.Lock()
        self._exits = ExitStack()
        self.aws_url = ""
        self.api_url = ""

    def settings(self) -> Settings:
        """Settings that lead through the gate."""
        upstream = {"base_url": f"{self.api_url}/v1", "ca_file": None}
        return self.stage.settings(
            {
                "aws": {"endpoint_url": self.aws_url},
                "upstreams": {UPSTREAM: upstream},
            }
        )

    def holds(self, call: str) -> bool:
        """Note a call; tell whether it is the one."""
        if call.startswith(READS):
            return False
        with self._lock:
            self.changes.append(call)
            return len(self.changes) == self.stop_at

    def put(self, wanted: dict[str, Any]) -> bool:
        """Store a value, unless its version has another one."""
        secrets = self.stage.moto.secrets
        token = wanted["ClientRequestToken"]
        with self._lock:
            found = secrets.list_secret_version_ids(SecretId=SECRET_ID)["Versions"]
            if token in {version["VersionId"] for version in found}:
                return False
            secrets.put_secret_value(**wanted)
            return True

    def __enter__(self) -> Self:
        trust = ssl.create_default_context(cafile=self.stage.api.certificate.ca_file)
        self.aws_url = self._serve(self.stage.moto.endpoint, None)
        self.api_url = self._serve(self.stage.api.base_url, trust)
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def _serve(self, behind: str, trust: ssl.SSLContext | None) -> str:
        """Open one side; returns its URL."""
        gate = self

        class Handler(_Handler):
            owner = gate
            host = urlsplit(behind).netloc
            tls = trust

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.05}
        )
        thread.start()
        self._exits.callback(thread.join)
        self._exits.callback(server.server_close)
        self._exits.callback(server.shutdown)
        return f"http://127.0.0.1:{server.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    """Passes calls on, a connection each."""

    owner: Gate
    host: str
    tls: ssl.SSLContext | None

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def _pass(self) -> None:
        """Pass one call on; keep its answer, if it is the chosen one."""
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        held = self.owner.holds(operation or self.command)
        status, kind, body = self._ask(operation)
        if self.command == "POST" and not operation and self.owner.meet is not None:
            self.owner.meet.wait(20.0)
        if held:
            self.owner.held.set()
            # Nothing comes back: the caller is about to be killed.
            self.connection.recv(1)
            return
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _ask(self, operation: str) -> tuple[int, str, bytes]:
        """Ask the peer behind."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if operation == "PutSecretValue":
            if self.owner.put(json.loads(body)):
                return 200, "application/x-amz-json-1.1", b"{}"
            taken = b'{"__type": "ResourceExistsException"}'
            return 400, "application/x-amz-json-1.1", taken
        fields = {k: v for k, v in self.headers.items() if k.lower() != "host"}
        with closing(self._connection()) as connection:
            connection.request(self.command, self.path, body or None, fields)
            answer = connection.getresponse()
            kind = answer.headers.get("Content-Type", "application/json")
            return answer.status, kind, answer.read()

    def _connection(self) -> http.client.HTTPConnection:
        """Prepare a connection."""
        if self.tls is None:
            return http.client.HTTPConnection(self.host, timeout=10)
        return http.client.HTTPSConnection(self.host, timeout=10, context=self.tls)

    def do_GET(self) -> None:
        """Read from the API."""
        self._pass()

    def do_POST(self) -> None:
        """Ask AWS, or create a key."""
        self._pass()

    def do_DELETE(self) -> None:
        """Revoke a key."""
        self._pass()
