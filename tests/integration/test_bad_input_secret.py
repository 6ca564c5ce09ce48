"""
What a person may store instead of a key: every rule of DESIGN section 5, from outside.

Once there is a key, a bad value never replaces it. Before there is one, calls get 503.
Either way the rule that is broken is named, and nothing of the value is shown.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import pytest

from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import AwsClient, EmulatedAws
from sidecar.emulator.ca import Certificate
from sidecar.emulator.key_ring import Issued
from sidecar.errors import STATUS, Code
from tests.support.bad_input import Witness, ask, no_bug, serves
from tests.support.processes import Settings, SidecarProcess, merge
from tests.support.raw_http import Seen

MARK: Final = "M4rkInTheStoredValue"
"""Stands in every bad value, and must stand nowhere else."""
PREFIX: Final = "fln_live_"
REFRESH_FAILED: Final = "credential_refresh_failed"


def upstream(api: EmulatedApi, **credential: str) -> Settings:
    """Return an upstream whose key is in a secret."""
    return {
        "listen": "127.0.0.1:0",
        "base_url": api.base_url,
        "ca_file": str(api.certificate.ca_file),
        "credential": credential,
    }


def with_upstreams(moto: AwsClient, upstreams: Settings) -> Settings:
    """Return settings of a process with these upstreams."""
    return {
        "job": {"name": "staging-crm-sync", "environment": "staging"},
        "upstreams": upstreams,
        "admin": {"listen": "127.0.0.1:0"},
        "aws": {"region": "eu-west-1", "endpoint_url": moto.endpoint},
        "log": {"level": "debug"},
    }


def replace(moto: AwsClient, secret_id: str, value: str | bytes) -> str:
    """Make this the value that is AWSCURRENT; returns its version."""
    if isinstance(value, str):
        return moto.rotate(secret_id, value)
    stored = moto.secrets.put_secret_value(
        SecretId=secret_id, SecretBinary=value, VersionStages=["AWSPENDING"]
    )
    moto.promote(secret_id, stored["VersionId"])
    return stored["VersionId"]


def as_json(value: object) -> str:
    """Return a secret with one member."""
    return json.dumps({"api_key": value})


@dataclass
class SecretRig:
    """A sidecar with two upstreams: `plain` has the key alone, `member` in JSON."""

    api: EmulatedApi
    moto: AwsClient
    process: SidecarProcess
    keys: dict[str, Issued]

    def reload(self) -> dict[str, str]:
        """Make it look now; returns how the looks ended."""
        ended: dict[str, str] = self.process.admin("/-/reload", "POST").json()["reload"]
        return ended

    def store_good(self, name: str) -> None:
        """Store a key that works."""
        issued = self.keys[name] = self.api.issue()
        value = issued.key if name == "plain" else as_json(issued.key)
        self.moto.rotate(name, value)

    def status(self, name: str) -> dict[str, Any]:
        """Return what is told of an upstream."""
        told: dict[str, Any] = self.process.status()["upstreams"][name]
        return told


@pytest.fixture(name="rig", scope="module")
def _rig(
    moto_server: EmulatedAws,
    certificate: Certificate,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SecretRig]:
    """One process for all rows."""
    moto_server.reset()
    directory = tmp_path_factory.mktemp("secret")
    with ExitStack() as stack:
        api = stack.enter_context(
            EmulatedApi(directory / "api", certificate=certificate)
        )
        keys = {name: api.issue() for name in ("plain", "member")}
        moto_server.put_secret("plain", keys["plain"].key)
        moto_server.put_secret("member", as_json(keys["member"].key))
        upstreams = {
            "plain": upstream(api, secret_id="plain", key_prefix=PREFIX),
            "member": upstream(
                api, secret_id="member", key_prefix=PREFIX, json_key="api_key"
            ),
        }
        settings = with_upstreams(moto_server, upstreams)
        process = SidecarProcess(directory / "sidecar", settings)
        stack.callback(process.close)
        process.wait_ready()
        yield SecretRig(api, moto_server, process, keys)
        process.assert_never_shown(MARK, *(one.key for one in keys.values()))
        no_bug(process)
    moto_server.reset()


def plain(name: str, value: str | bytes, words: str) -> Any:
    """Make a row: a secret that should be the key alone."""
    return pytest.param("plain", value, words, id=name)


def member(name: str, value: str, words: str) -> Any:
    """Make a row: a secret that should be JSON with the key in it."""
    return pytest.param("member", value, words, id=f"json-{name}")


GOOD: Final = PREFIX + MARK
VALUES: Final = [
    plain("empty", "\n", "the key is empty"),
    plain("binary", GOOD.encode(), "the secret is binary"),
    plain("line-feed", f"{GOOD}\nX-Evil: 1", "line break"),
    plain("carriage-return", f"{GOOD}\rX-Evil: 1", "line break"),
    plain("two-newlines", f"{GOOD}\n\n", "line break"),
    plain("nul", f"{GOOD}\0", "NUL"),
    plain("space", f"{GOOD} ", "space"),
    plain("not-ascii", f"{GOOD}é", "visible ASCII"),
    plain("control", f"{GOOD}\x1b", "visible ASCII"),
    plain("scheme", f"Bearer {GOOD}", "already begins with Bearer"),
    plain("scheme-case", f"bearer {GOOD}", "already begins with Bearer"),
    plain("other-environment", f"fln_test_{MARK}", f"does not begin with {PREFIX}"),
    plain("prefix-alone", PREFIX, f"does not begin with {PREFIX}"),
    plain("placeholder", f"{PREFIX}replace_with_{MARK}", "placeholder"),
    plain("changeme", f"{PREFIX}changeme_{MARK}", "placeholder"),
    plain("angle-brackets", f"<{MARK}>", "placeholder"),
    plain("json-unasked", as_json(GOOD), "is a JSON object"),
    plain("long", GOOD + "a" * 8192, "longer than 8192 bytes"),
    member("no-json", GOOD, "no JSON object"),
    member("broken", '{"api_key": "' + GOOD, "no JSON object"),
    member("list", json.dumps([GOOD]), "no JSON object"),
    member("other-member", json.dumps({"token": GOOD}), "no member api_key"),
    member("number", as_json(42), "is not a string"),
    member("null", as_json(None), "is not a string"),
    member("object", as_json({"value": GOOD}), "is not a string"),
    member("empty-member", as_json(""), "the key is empty"),
    member("scheme-member", as_json(f"Bearer {GOOD}"), "already begins with Bearer"),
]


@pytest.mark.parametrize(("name", "value", "words"), VALUES)
def test_a_bad_value_never_replaces_a_key(
    rig: SecretRig, name: str, value: str | bytes, words: str
) -> None:
    """The rule is named in log and status; calls go on with the key before it."""
    before = Witness(rig.process)
    in_use = rig.status(name)["fingerprint"]
    replace(rig.moto, name, value)
    calls = rig.api.state.by_key().get(rig.keys[name].id, 0)

    assert rig.reload()[name] == "invalid"
    serves(rig.process.address(name))
    assert rig.api.state.by_key()[rig.keys[name].id] == calls + 1
    labels = {"upstream": name, "result": "invalid"}
    assert before.grew("sidecar_credential_refreshes_total", **labels) == 1
    line = before.wait_told(REFRESH_FAILED)
    assert (line["upstream"], line["level"]) == (name, "warning")
    assert words in line["reason"]
    assert line["effect"] == "still serving the last good key"
    told = rig.status(name)
    assert words in told["last_error"]
    assert told["remedy"]
    assert (told["state"], told["fingerprint"]) == ("rejected", in_use)
    assert rig.process.admin("/readyz").status == 200

    rig.store_good(name)
    assert rig.reload()[name] == "changed"
    assert rig.status(name)["state"] == "fresh"
    serves(rig.process.address(name))


def test_one_newline_at_the_end_is_forgiven(rig: SecretRig) -> None:
    """It is what `echo` leaves behind; the key is sent without it."""
    issued = rig.api.issue()
    rig.moto.rotate("plain", f"{issued.key}\n")
    assert rig.reload()["plain"] == "changed"
    serves(rig.process.address("plain"))

    assert rig.api.state.by_key()[issued.id] == 1
    rig.keys["plain"] = issued


STARTS: Final = {
    "nothing": (None, "does not exist"),
    "binary": (GOOD.encode(), "the secret is binary"),
    "json": (as_json(GOOD), "set json_key"),
    "scheme": (f"Bearer {GOOD}", "already begins with Bearer"),
    "placeholder": ("<your key here>", "placeholder"),
}


def test_a_start_on_bad_secrets_is_503_until_they_are_mended(
    api: EmulatedApi,
    moto: AwsClient,
    sidecar_process: Callable[..., SidecarProcess],
) -> None:
    """Each upstream says what is wrong with its own; one that is right serves."""
    for name, (value, _) in STARTS.items():
        if value is not None:
            moto.put_secret(name, value)
    good = api.issue()
    moto.put_secret("good", good.key)
    names = [*STARTS, "good"]
    upstreams = {name: upstream(api, secret_id=name) for name in names}
    process = sidecar_process(
        merge(with_upstreams(moto, upstreams), {"log": {"access": "all"}})
    )
    process.wait_listening()
    serves(process.address("good"))
    seen = at_once(process, STARTS)

    code = Code.CREDENTIAL_UNAVAILABLE
    for name, (_, words) in STARTS.items():
        assert (seen[name].status, seen[name].code) == (STATUS[code], code)
        assert seen[name].field(b"retry-after") == b"2"
        rejections = process.metrics().value(
            "sidecar_rejections_total", upstream=name, reason=code
        )
        assert rejections == 1
        lines = [one for one in process.logs(REFRESH_FAILED) if one["upstream"] == name]
        assert words in lines[0]["reason"]
        assert lines[0]["effect"] == "calls get 503"
    assert process.admin("/livez").status == 200
    assert process.admin("/startupz").status == 503
    assert set(process.status()["upstreams"]) == set(names)

    for name, (value, _) in STARTS.items():
        if value is None:
            moto.put_secret(name, good.key)
        else:
            replace(moto, name, good.key)
    process.admin("/-/reload", "POST")
    process.wait_ready()
    for name in names:
        serves(process.address(name))
    process.assert_never_shown(MARK, good.key)
    no_bug(process)


def at_once(process: SidecarProcess, names: dict[str, Any]) -> dict[str, Seen]:
    """Call these upstreams at the same time: each waits for a key for a while."""
    seen: dict[str, Seen] = {}

    def caller(name: str) -> None:
        seen[name] = ask(process.address(name))

    callers = [threading.Thread(target=caller, args=(name,)) for name in names]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    return seen
