"""Each setting of an upstream reaches the part that it is for, and no other."""

import dataclasses
import ssl
from pathlib import Path

import pytest

from sidecar.assembly import upstreams as assembly
from sidecar.core.secrecy.secret import SecretRules
from sidecar.credential.options import CredentialManagerOptions
from sidecar.credential.sources.file import FileSource
from sidecar.credential.sources.secrets_manager import SecretsManagerSource
from sidecar.errors import Code, Refused
from sidecar.proxy.options import Guards, Limits
from sidecar.settings.model import Settings
from tests.support.full_settings import everything
from tests.support.settings_files import GOOD, loaded

NAME, LOCAL = "flownally", "local"


@pytest.fixture(name="settings")
def _settings(tmp_path: Path) -> Settings:
    """Settings other than the defaults."""
    return everything(tmp_path)


def test_the_bounds_of_a_call(settings: Settings) -> None:
    """One for one, by name."""
    limits = assembly.limits_of(settings.upstreams[NAME])

    assert limits == Limits(21, 22, 23, 2400, 25, 26, 27, 28, 29, 30, 31)


def test_both_sides_have_the_same_defaults(tmp_path: Path) -> None:
    """Those of the settings are documented, those of the hot path are tested."""
    settings = loaded(tmp_path, GOOD)
    options = assembly.upstream_of(settings, NAME)

    assert options.limits == Limits()
    assert options.guards == Guards()
    assert options.access == "errors"
    assert assembly.rules_of(settings.upstreams[NAME]) == SecretRules()
    defaults = CredentialManagerOptions(NAME)
    assert assembly.keeper_options(settings, NAME) == defaults


def test_what_the_hot_path_is_told(settings: Settings) -> None:
    """The base is parsed; the guards are those of the whole process."""
    options = assembly.upstream_of(settings, NAME)

    assert options.name == NAME
    assert (options.base.host, options.base.path) == ("api.flownally.com", b"/v1")
    assert options.guards == Guards("off", "warn", "off", "strip")
    assert options.access == "all"
    assert options.key_prefix == b"fln_test_"
    assert assembly.upstream_of(settings, LOCAL).key_prefix == b""


def test_what_the_keeper_is_told(settings: Settings) -> None:
    """With the rules for a secret, and how old one may become."""
    options = assembly.keeper_options(settings, NAME)
    rules = SecretRules("api_key", "fln_test_", "", "X-Api-Key")

    assert options == CredentialManagerOptions(NAME, rules, 11, 12, 30)
    assert len(dataclasses.fields(options)) == 5, "an option that nothing sets"


def test_operations(settings: Settings) -> None:
    """What is allowed has its label and scopes; the rest is denied."""
    operations = assembly.operations_of(settings.upstreams[NAME])

    assert operations.match(b"GET", b"/contacts").label == "/contacts"
    assert operations.match(b"POST", b"/contacts").scopes == ("contacts:write",)
    for method, path in ((b"GET", b"/admin/a"), (b"DELETE", b"/contacts")):
        with pytest.raises(Refused) as caught:
            operations.match(method, path)
        assert caught.value.code is Code.OPERATION_DENIED


def test_whether_new_keys_may_be_handed_out(settings: Settings, tmp_path: Path) -> None:
    """Not by default; when a person allows it, such an answer is not compressed."""
    default = loaded(tmp_path, GOOD).upstreams[NAME]
    opened = default.model_copy(update={"deny": ()})
    upstreams = {
        "default": (default, False),
        "opened": (opened, True),
        "allow list": (settings.upstreams[NAME], False),
    }

    for name, (upstream, handed_out) in upstreams.items():
        operations = assembly.operations_of(upstream)
        assert assembly.hands_out_keys(operations) is handed_out, name


def test_where_a_key_comes_from(settings: Settings) -> None:
    """From Secrets Manager by its id, or from a file."""
    sources = [
        assembly.source_of(upstream.credential, settings.aws, lambda *_: None)
        for upstream in settings.upstreams.values()
    ]

    assert isinstance(sources[0], SecretsManagerSource)
    assert repr(sources[0]) == "SecretsManagerSource('staging/flownally/crm-sync')"
    assert isinstance(sources[1], FileSource)
    assert repr(sources[1]) == "FileSource('/run/key')"


def test_the_probe(settings: Settings) -> None:
    """The call under the base, as it was written; none without a setting."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    probe = assembly.probe_of(settings.upstreams[NAME], context)

    assert repr(probe) == "ApiProbe(HEAD https://api.flownally.com/v1/contacts?limit=1)"
    assert probe is not None
    assert probe._tls is not None
    assert probe._tls() is context
    assert assembly.probe_of(settings.upstreams[LOCAL], None) is None


def test_the_probe_of_an_api_on_this_machine(settings: Settings) -> None:
    """Without TLS, and with one slash between base and path."""
    local = settings.upstreams[LOCAL]
    credential = local.credential.model_copy(update={"probe": "GET /a"})
    probe = assembly.probe_of(local.model_copy(update={"credential": credential}), None)

    assert repr(probe) == "ApiProbe(GET http://127.0.0.1:9/a)"
    assert probe is not None
    assert probe._tls is None


def test_tls_is_told_by_the_url(settings: Settings) -> None:
    """Plain HTTP exists on loopback only: the settings see to that."""
    assert assembly.is_tls(settings.upstreams[NAME])
    assert not assembly.is_tls(settings.upstreams[LOCAL])
