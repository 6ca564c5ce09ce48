"""`sidecar webhook sign`: test deliveries that the receiver takes, and no secret shown."""

import base64
import io
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sidecar.cli import main
from sidecar.core.webhooks.signing_keys import parse_key
from sidecar.core.webhooks.verification import verify
from sidecar.emulator.aws import AwsClient
from sidecar.errors import Exit
from tests.core.webhooks.test_verification import WHPK, WHSK
from tests.support.webhook_fakes import SECRET

BODY = b'{"type": "contact.created"}\r\n\xff'


@pytest.fixture(autouse=True)
def _not_hardened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the test's own process as it is."""
    monkeypatch.setattr("sidecar.commands.webhook.harden", lambda: None)


@pytest.fixture(name="secret")
def _secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    return path


@pytest.fixture(name="body")
def _body(tmp_path: Path) -> Path:
    path = tmp_path / "the body.json"
    path.write_bytes(BODY)
    return path


@pytest.fixture(name="stdin")
def _stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Put bytes on standard input."""

    def put(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return put


class Receiver(HTTPServer):
    """Keeps what it got, and answers as it is told."""

    status = 204
    text = b""
    got: tuple[list[tuple[bytes, bytes]], bytes, str] = ([], b"", "")


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Keep the request and answer it."""
        assert isinstance(self.server, Receiver)
        fields = [(n.encode(), v.encode()) for n, v in self.headers.items()]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got = (fields, body, self.path)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.text)))
        self.end_headers()
        self.wfile.write(self.server.text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    with Receiver(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def url(receiver: Receiver) -> str:
    """Where it listens."""
    return f"http://127.0.0.1:{receiver.server_address[1]}/webhooks/inbox"


def check(receiver: Receiver, key: str = SECRET) -> str:
    """Verify what was received as the sidecar does; return the id."""
    fields, body, _ = receiver.got
    keys = (parse_key(key, ""),)
    return verify(fields, body, keys, now=time.time(), tolerance_seconds=60).id


def test_it_prints_the_fields_of_a_delivery(
    secret: Path, body: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For whatever client one has; the published vector, so it is right."""
    body.write_bytes(b'{"test": 2432232314}')

    code = main(
        [
            *(
                "webhook",
                "sign",
                "--secret-file",
                str(secret),
                "--body-file",
                str(body),
            ),
            *("--id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "--timestamp", "1614265330"),
        ]
    )

    assert code == Exit.OK
    assert capsys.readouterr().out.splitlines() == [
        "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp: 1614265330",
        "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "Content-Type: application/json",
    ]


def test_it_sends_a_delivery(
    secret: Path,
    body: Path,
    receiver: Receiver,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a new id, as of now, byte for byte."""
    code = main(
        [
            *(
                "webhook",
                "sign",
                "--secret-file",
                str(secret),
                "--body-file",
                str(body),
            ),
            *("--send", "--url", f"{url(receiver)}?a=b"),
        ]
    )

    assert code == Exit.OK
    assert check(receiver).startswith("msg_")
    assert receiver.got[1:] == (BODY, "/webhooks/inbox?a=b")
    assert capsys.readouterr().out == "204 No Content\n"


def test_an_ed25519_key_signs_v1a(
    tmp_path: Path, receiver: Receiver, stdin: Callable[[bytes], None]
) -> None:
    """The prefix decides; the receiver verifies with the public half."""
    path = tmp_path / "key"
    path.write_text(WHSK)
    stdin(BODY)

    main(
        [
            "webhook",
            "sign",
            "--secret-file",
            str(path),
            "--send",
            "--url",
            url(receiver),
        ]
    )

    assert check(receiver, WHPK)


def test_a_refusal_is_shown_and_is_the_exit_code(
    secret: Path,
    receiver: Receiver,
    stdin: Callable[[bytes], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """So that a script can go by it."""
    receiver.status, receiver.text = 400, b'{"error": {"code": "stale"}}'
    stdin(b"")

    code = main(
        [
            "webhook",
            "sign",
            "--secret-file",
            str(secret),
            "--send",
            "--url",
            url(receiver),
        ]
    )

    assert code == Exit.API
    assert capsys.readouterr().out == '400 Bad Request\n{"error": {"code": "stale"}}\n'


def test_a_receiver_that_is_down_is_told(
    secret: Path,
    receiver: Receiver,
    stdin: Callable[[bytes], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a traceback."""
    address = url(receiver)
    receiver.shutdown()
    receiver.server_close()
    stdin(b"")

    code = main(
        ["webhook", "sign", "--secret-file", str(secret), "--send", "--url", address]
    )

    assert code == Exit.API
    assert "no answer (Connection refused)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'{"a": "it\'s $HOME `x` \\"y\\""}', id="quotes"),
        pytest.param(b"@/etc/passwd", id="at-sign"),
        pytest.param('{"a":\r\n\t"\u00e9"}\n'.encode(), id="lines"),
        pytest.param(b"", id="empty"),
    ],
)
def test_the_curl_command_sends_a_delivery(
    secret: Path,
    receiver: Receiver,
    stdin: Callable[[bytes], None],
    capsys: pytest.CaptureFixture[str],
    data: bytes,
) -> None:
    """A shell and a real curl leave the body as it is."""
    stdin(data)
    main(
        [
            "webhook",
            "sign",
            "--secret-file",
            str(secret),
            "--curl",
            "--url",
            url(receiver),
        ]
    )
    command = capsys.readouterr().out

    subprocess.run(["sh", "-c", command], check=True, capture_output=True, timeout=20)

    assert check(receiver)
    assert receiver.got[1] == data


def test_the_curl_command_reads_a_body_from_its_file(
    secret: Path, body: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one that is not text, in a file with a space in its name."""
    main(
        [
            *(
                "webhook",
                "sign",
                "--secret-file",
                str(secret),
                "--body-file",
                str(body),
            ),
            *("--curl", "--url", url(receiver)),
        ]
    )
    command = capsys.readouterr().out

    subprocess.run(["sh", "-c", command], check=True, capture_output=True, timeout=20)

    assert check(receiver)
    assert receiver.got[1] == BODY


def test_the_secret_is_never_shown(
    secret: Path,
    receiver: Receiver,
    stdin: Callable[[bytes], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not printed, and not a word of the command that curl is given."""
    for how in ([], ["--curl"], ["--send"]):
        stdin(b"{}")
        main(
            [
                *("webhook", "sign", "--secret-file", str(secret)),
                *("--url", url(receiver), *how),
            ]
        )

    out = "".join(capsys.readouterr())
    assert SECRET[6:] not in out
    assert base64.b64decode(SECRET[6:]).hex() not in out


@pytest.mark.parametrize(
    ("arguments", "data", "reason"),
    [
        (["--body-file", "/no/such/file"], b"", "--body-file: cannot be read"),
        (["--curl"], b"\xff", "--body-file: is required"),
        (["--curl"], b"\0", "--body-file: is required"),
        (["--send", "--curl"], b"", "not allowed with"),
        (["--timestamp", "now"], b"", "--timestamp"),
        (["--secret-id", "x"], b"", "not allowed with"),
    ],
)
def test_what_cannot_be_is_a_usage_error(
    secret: Path,
    stdin: Callable[[bytes], None],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    data: bytes,
    reason: str,
) -> None:
    """Exit code 2, with the option that is wrong."""
    stdin(data)

    code = main(["webhook", "sign", "--secret-file", str(secret), *arguments])

    assert code == Exit.USAGE
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("how", [[], ["--curl"], ["--send"]], ids=str)
@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--id", "a b", "must be visible ASCII"),
        ("--id", "a\r\nX: y", "must be visible ASCII"),
        ("--id", "m" * 1001, "must be visible ASCII"),
        ("--content-type", "a\nX: y", "must be one line"),
        ("--content-type", "a\n", "must be one line"),
        ("--content-type", "caf\u20ac", "must be one line"),
        ("--content-type", "", "must be one line"),
        ("--url", "ftp://x", "must begin with https://"),
        ("--url", "//x", "must begin with https://"),
        ("--url", "http://", "must name a host"),
        ("--url", "http://127.0.0.1:99999/x", "is not a URL"),
        ("--url", "http://127.0.0.1:x/", "is not a URL"),
        ("--url", "http://a..b/x", "must name a host"),
        ("--url", "http://b\xfccher/x", "must be a URL in visible ASCII"),
        ("--url", "http://127.0.0.1/x y", "must be a URL in visible ASCII"),
        ("--url", "http://127.0.0.1/?x y", "visible ASCII"),
        ("--url", "http://127.0.0.1/?\xe9", "visible ASCII"),
        ("--url", "", "must be a URL in visible ASCII"),
    ],
)
def test_what_cannot_be_sent_is_a_usage_error(
    secret: Path,
    stdin: Callable[[bytes], None],
    capsys: pytest.CaptureFixture[str],
    option: str,
    value: str,
    reason: str,
    how: list[str],
) -> None:
    """In all three forms alike: exit code 2, the option, and nothing is signed."""
    stdin(b"")
    given = ["webhook", "sign", "--secret-file", str(secret), *how]

    code = main([*given, option, value])

    said = capsys.readouterr()
    assert code == Exit.USAGE
    assert said.out == ""
    assert said.err.startswith(f"sidecar: {option}: ")
    assert reason in said.err


def test_a_charset_and_a_query_are_sent_as_they_are(
    secret: Path, receiver: Receiver, stdin: Callable[[bytes], None]
) -> None:
    """The checks take what HTTP takes."""
    stdin(b"{}")
    kind = 'text/weird; a="b c"\t; d'
    given = ["--content-type", kind, "--url", f"{url(receiver)}?a=%20&b=/../"]

    code = main(["webhook", "sign", "--secret-file", str(secret), "--send", *given])

    assert code == Exit.OK
    assert (b"Content-Type", kind.encode()) in receiver.got[0]
    assert receiver.got[2] == "/webhooks/inbox?a=%20&b=/../"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (WHPK, "sign with the whsk_ key"),
        (f"v1,{SECRET}", "without the leading v1,"),
        ("changeme", "placeholder"),
    ],
)
def test_a_secret_that_cannot_sign_is_a_credential_error(
    secret: Path,
    stdin: Callable[[bytes], None],
    capsys: pytest.CaptureFixture[str],
    content: str,
    reason: str,
) -> None:
    """Exit code 3, with the fix, and without the value."""
    secret.write_text(content)
    stdin(b"")

    code = main(["webhook", "sign", "--secret-file", str(secret)])

    err = capsys.readouterr().err
    assert code == Exit.CREDENTIAL
    assert reason in err
    assert content[4:] not in err


def test_a_secret_file_that_is_missing_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the option's name."""
    code = main(["webhook", "sign", "--secret-file", str(tmp_path / "none")])

    assert code == Exit.USAGE
    assert "--secret-file: cannot be read (No such file" in capsys.readouterr().err


def test_a_person_is_told_that_the_body_is_awaited(
    secret: Path,
    stdin: Callable[[bytes], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At a terminal nothing would happen, otherwise."""
    stdin(b"{}")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)

    main(["webhook", "sign", "--secret-file", str(secret)])

    assert "Ctrl-D" in capsys.readouterr().err


@pytest.mark.usefixtures("credentials")
def test_a_secret_in_secrets_manager(
    moto: AwsClient,
    receiver: Receiver,
    stdin: Callable[[bytes], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its name; region and credentials from the environment."""
    moto.put_secret("prod/flownally/webhook", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.endpoint)
    stdin(b"{}")

    code = main(
        [
            *("webhook", "sign", "--secret-id", "prod/flownally/webhook"),
            *("--send", "--url", url(receiver)),
        ]
    )

    assert code == Exit.OK
    assert check(receiver)


@pytest.mark.usefixtures("credentials")
def test_a_secret_that_is_not_there_is_a_credential_error(
    moto: AwsClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.endpoint)

    code = main(["webhook", "sign", "--secret-id", "prod/none"])

    assert code == Exit.CREDENTIAL
    assert capsys.readouterr().err


def test_a_secret_on_the_command_line_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Everybody on the machine can read a command line, so it must be changed."""
    code = main(["webhook", "sign", "--secret-id", SECRET])

    err = capsys.readouterr().err
    assert code == Exit.USAGE
    assert "--secret-id: looks like a key" in err
    assert SECRET[6:] not in err


SETTINGS = """
[job]
name = "staging-crm-sync"
environment = "staging"

[webhooks.inbox]
file = "{file}"
json_key = "webhook"
forward_to = "http://127.0.0.1:3000/hooks"

[webhook_listener]
listen = "{listen}"
"""


@pytest.mark.parametrize(
    ("listen", "shown"),
    [
        ("0.0.0.0:8702", "http://127.0.0.1:8702/webhooks/inbox"),
        ("10.0.0.5:9", "http://10.0.0.5:9/webhooks/inbox"),
        ("[::1]:8702", "http://[::1]:8702/webhooks/inbox"),
    ],
)
def test_an_endpoint_of_the_settings(
    tmp_path: Path,
    stdin: Callable[[bytes], None],
    capsys: pytest.CaptureFixture[str],
    listen: str,
    shown: str,
) -> None:
    """Its secret, by its rules, and where its listener is reached from here."""
    file, config = tmp_path / "secret.json", tmp_path / "sidecar.toml"
    file.write_text(f'{{"webhook": "{SECRET}"}}')
    config.write_text(SETTINGS.format(file=file, listen=listen))
    stdin(b"{}")

    given = ["--config", str(config)]
    wanted = ["--endpoint", "inbox", "--curl"]

    for line in (["webhook", *given, "sign"], ["webhook", "sign", *given]):
        assert main([*line, *wanted]) == Exit.OK
        assert shlex.split(capsys.readouterr().out)[-1] == shown


def test_an_endpoint_that_the_settings_do_not_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that they have are named."""
    config = tmp_path / "sidecar.toml"
    config.write_text(SETTINGS.format(file="/x", listen="127.0.0.1:0"))

    code = main(["webhook", "--config", str(config), "sign", "--endpoint", "outbox"])

    assert code == Exit.USAGE
    assert "(they have: inbox)" in capsys.readouterr().err
