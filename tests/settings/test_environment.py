"""Settings from `SIDECAR_*` variables: names, nesting, types, precedence, mistakes."""

import json
from pathlib import Path

import pytest

from sidecar.settings import introspection
from sidecar.settings.environment import read, unknown, variable
from sidecar.settings.loading import load
from sidecar.settings.model import Settings
from tests.support.settings_files import GOOD, WEBHOOK, loaded, reasons

UP = "SIDECAR_UPSTREAMS__FLOWNALLY__"
ALONE = {
    "SIDECAR_JOB__ENVIRONMENT": "development",
    "SIDECAR_JOB__NAME": "development-crm-sync",
    UP + "BASE_URL": "https://api.flownally.com/v1",
    UP + "CREDENTIAL__SECRET_ID": "dev/flownally/crm-sync",
}


def test_the_environment_alone_is_enough() -> None:
    """No file is needed; names of tables are in lower case."""
    settings = load(None, ALONE)

    assert settings.job.name == "development-crm-sync"
    assert list(settings.upstreams) == ["flownally"]


def test_the_environment_is_stronger_than_the_file(tmp_path: Path) -> None:
    """And the file is stronger than the defaults."""
    text = GOOD + '[log]\nlevel = "warning"\naccess = "all"\n'

    settings = loaded(tmp_path, text, {"SIDECAR_LOG__LEVEL": "error"})

    assert settings.log.level == "error"
    assert settings.log.access == "all"
    assert settings.log.format == "json"


def test_a_variable_changes_one_setting_of_a_table(tmp_path: Path) -> None:
    """What the file says beside it stays."""
    settings = loaded(tmp_path, GOOD, {UP + "LISTEN": "127.0.0.1:9000"})

    upstream = settings.upstreams["flownally"]
    assert str(upstream.listen) == "127.0.0.1:9000"
    assert upstream.base_url == "https://api.flownally.com/v1"


def test_a_hyphen_in_the_file_is_an_underscore_in_a_variable(tmp_path: Path) -> None:
    """`[upstreams.crm-api]` is meant by `CRM_API`: variables have no hyphen."""
    text = GOOD.replace("flownally]", "crm-api]").replace("flownally.", "crm-api.")

    settings = loaded(
        tmp_path, text, {"SIDECAR_UPSTREAMS__CRM_API__LISTEN": "unix:/a.sock"}
    )

    assert {n: str(u.listen) for n, u in settings.upstreams.items()} == {
        "crm-api": "unix:/a.sock"
    }


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("JOB__ROTATE_EVERY_DAYS", "90", "job.rotate_every_days", 90),
        ("DRAIN__TIMEOUT_SECONDS", "2.5", "drain.timeout_seconds", 2.5),
        ("GUARD__REFLECTION", "off", "guard.reflection", "off"),
        ("ADMIN__LISTEN", "0.0.0.0:0", "admin.listen", "0.0.0.0:0"),
        ("LOG__level", "debug", "log.level", "debug"),
        ("AWS__ENDPOINT_URL", "http://a:5000", "aws.endpoint_url", "http://a:5000"),
    ],
)
def test_numbers_and_words_are_read(
    name: str, text: str, path: str, value: object
) -> None:
    """As the type of the setting asks."""
    settings: object = load(None, ALONE | {f"SIDECAR_{name}": text})

    for step in path.split("."):
        settings = getattr(settings, step)
    assert settings == value or str(settings) == value


@pytest.mark.parametrize(
    ("text", "operations"),
    [
        ('["GET /contacts", "GET /a"]', ["GET /contacts", "GET /a"]),
        ("GET,PATCH /contacts/{id}", ["GET,PATCH /contacts/{id}"]),
        ("GET /contacts\n  GET /a\n\n", ["GET /contacts", "GET /a"]),
        ('[{"operation": "GET /a", "scopes": ["a:read"]}]', ["GET /a"]),
        ("[]", []),
        ("", []),
    ],
)
def test_a_list_is_json_or_lines(text: str, operations: list[str]) -> None:
    """A comma does not separate operations: it separates their methods."""
    allow = load(None, ALONE | {UP + "ALLOW": text}).upstreams["flownally"].allow

    assert allow is not None
    assert [entry.operation for entry in allow] == operations


def test_scopes_come_with_an_operation() -> None:
    """By JSON, as in the file."""
    text = '[{"operation": "GET /a", "scopes": ["a:read"]}]'

    (entry,) = (
        load(None, ALONE | {UP + "ALLOW": text}).upstreams["flownally"].allow or ()
    )

    assert entry.scopes == ("a:read",)


def test_a_table_is_json_and_a_setting_in_it_is_stronger() -> None:
    """A chart may hand over a table; a variable of one setting is meant more."""
    table = {"level": "debug", "format": "console"}

    log = load(
        None,
        ALONE | {"SIDECAR_LOG__LEVEL": "error", "SIDECAR_LOG": json.dumps(table)},
    ).log

    assert (log.level, log.format) == ("error", "console")


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        (UP + "ALLOW", '["fln_live_k', "a list"),
        (UP + "ALLOW_UIDS", "[x", "a list"),
        pytest.param(UP + "ALLOW_UIDS", "[" * 100_000, "a list", id="deep"),
        ("SIDECAR_LOG", "fln_live_k", "JSON"),
        ("SIDECAR_LOG", '["fln_live_k"]', "JSON"),
        ("SIDECAR_UPSTREAMS", '{"fln_live_k', "JSON"),
    ],
)
def test_broken_json_is_a_problem_of_its_variable(
    tmp_path: Path, name: str, text: str, rule: str
) -> None:
    """Its text is not repeated."""
    found = reasons(tmp_path, GOOD, {name: text})

    assert list(found) == [name]
    assert rule in found[name]
    assert "fln_live_k" not in found[name]


def test_an_empty_variable_unsets_an_optional_setting(tmp_path: Path) -> None:
    """Charts set empty variables; an empty scheme means the bare key."""
    text = GOOD + 'key_prefix = "fln_"\nprobe = "GET /a"\njson_key = "k"\n'

    credential = (
        loaded(
            tmp_path,
            text,
            {
                UP + "CREDENTIAL__KEY_PREFIX": "",
                UP + "CREDENTIAL__PROBE": "",
                UP + "CREDENTIAL__JSON_KEY": "",
                UP + "CREDENTIAL__SCHEME": "",
                UP + "CA_FILE": "",
                "SIDECAR_JOB__OWNER": "",
                "SIDECAR_JOB__ROTATE_EVERY_DAYS": "",
                "SIDECAR_AWS__REGION": "",
            },
        )
        .upstreams["flownally"]
        .credential
    )

    assert (credential.key_prefix, credential.probe, credential.json_key) == (None,) * 3
    assert credential.scheme == ""


def test_an_empty_variable_can_swap_the_source(tmp_path: Path) -> None:
    """A developer replaces the secret of the file by a file."""
    environ = {
        UP + "CREDENTIAL__SECRET_ID": "",
        UP + "CREDENTIAL__FILE": "/run/key",
    }

    credential = loaded(tmp_path, GOOD, environ).upstreams["flownally"].credential

    assert credential.secret_id is None
    assert credential.file == Path("/run/key")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SIDECAR_PROT", ""),
        ("SIDECAR_LOG__LEVL", "SIDECAR_LOG__LEVEL"),
        ("SIDECAR_LOG_LEVEL", "SIDECAR_LOG__LEVEL"),
        ("SIDECAR_LOG__LEVEL__X", "SIDECAR_LOG__LEVEL"),
        ("SIDECAR_CONFG", "SIDECAR_CONFIG"),
        ("SIDECAR_GUARDS__BROWSER", "SIDECAR_GUARD__BROWSER"),
        (UP + "LISTENS", UP + "LISTEN"),
        (UP + "CREDENTIAL__SECRETID", UP + "CREDENTIAL__SECRET_ID"),
        (UP + "CREDENTIAL__API_KEY", ""),
        ("SIDECAR_UPSTREAMS____LISTEN", ""),
        ("SIDECAR_UPSTREAMS__FLOWNALLY", ""),
        ("SIDECAR_", ""),
        ("SIDECAR___", ""),
    ],
)
def test_a_misspelt_variable_is_an_error(tmp_path: Path, name: str, hint: str) -> None:
    """It would be ignored and the default used; the nearest name is told."""
    found = reasons(tmp_path, GOOD, {name: "fln_live_secret"})

    assert list(found) == [name]
    assert "fln_live_secret" not in found[name]
    if hint:
        assert hint in found[name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SIDECAR_CONFIG", "/etc/sidecar.toml"),
        ("SIDECAR_SERVICE_HOST", "10.0.0.1"),
        ("SIDECAR_SERVICE_PORT", "8701"),
        ("SIDECAR_SERVICE_PORT_METRICS", "8701"),
        ("SIDECAR_PORT", "tcp://10.0.0.1:8701"),
        ("SIDECAR_PORT_8701_TCP", "tcp://10.0.0.1:8701"),
        ("SIDECAR_PORT_8701_TCP_ADDR", "10.0.0.1"),
        ("SIDECAR_WEBHOOKS_SERVICE_HOST", "10.0.0.1"),
        ("SIDECAR_WEBHOOKS_PORT_80_TCP_PROTO", "tcp"),
        ("SIDECARS", "x"),
        ("sidecar_log__levl", "x"),
    ],
)
def test_variables_that_are_not_meant_for_us(
    tmp_path: Path, name: str, value: str
) -> None:
    """Kubernetes sets variables for a Service that is called sidecar."""
    assert reasons(tmp_path, GOOD, {name: value}) == {}


def test_a_port_that_is_no_service_link_is_an_error(tmp_path: Path) -> None:
    """`SIDECAR_PORT=9000` was meant to set something."""
    assert list(reasons(tmp_path, GOOD, {"SIDECAR_PORT": "9000"})) == ["SIDECAR_PORT"]


def test_a_problem_names_the_variable_that_made_it(tmp_path: Path) -> None:
    """Its path is the one of the file, so both are told."""
    found = reasons(tmp_path, GOOD, {"SIDECAR_LOG__LEVEL": "loud"})

    assert "SIDECAR_LOG__LEVEL" in found["log.level"]


def test_every_setting_has_a_variable() -> None:
    """Each name that is suggested is one that is read."""
    for path, field in introspection.leaves(Settings):
        steps = tuple("x" if step == introspection.ANY_NAME else step for step in path)

        found = read({variable(steps): "[]"}, {})

        assert found.problems == []
        assert found.variables == {steps: variable(steps)}
        assert field is introspection.at(Settings, steps)[0]


def test_webhooks_are_set_by_variables(tmp_path: Path) -> None:
    """As upstreams are."""
    settings = loaded(
        tmp_path, GOOD + WEBHOOK, {"SIDECAR_WEBHOOKS__INBOX__TOLERANCE_SECONDS": "60"}
    )

    assert settings.webhooks["inbox"].tolerance_seconds == 60


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (UP + "BASE_URL", "upstreams.flownally.base_url"),
        (UP + "CREDENTIAL__PROBE", "upstreams.flownally.credential.probe"),
        (UP + "CREDENTIAL__HEADER", "upstreams.flownally.credential.header"),
        (UP + "CREDENTIAL__SECRET_ID", "upstreams.flownally.credential.secret_id"),
        ("SIDECAR_JOB__OWNER", "job.owner"),
        ("SIDECAR_ADMIN__LISTEN", "admin.listen"),
    ],
)
def test_bytes_that_are_no_text_are_a_problem(
    tmp_path: Path, name: str, path: str
) -> None:
    """The system gives such bytes of a variable as lone surrogates."""
    found = reasons(tmp_path, GOOD, {name: "GET /\udcff"})

    assert list(found) == [path]
    assert "\udcff" not in found[path]


def test_a_variable_of_one_setting_makes_the_table_that_it_needs(
    tmp_path: Path,
) -> None:
    """What a JSON variable says in the place of the table is no table."""
    environ = {
        "SIDECAR_UPSTREAMS": '{"flownally": 5}',
        UP + "LISTEN": "127.0.0.1:9000",
    }

    upstream = loaded(tmp_path, GOOD, environ).upstreams["flownally"]

    assert str(upstream.listen) == "127.0.0.1:9000"
    assert upstream.base_url == "https://api.flownally.com/v1"


def test_the_nearest_name() -> None:
    """Near enough to be meant, or none."""
    said = "is not a setting"
    assert unknown("levl", ["level", "x"]) == f"{said}; did you mean level?"
    assert unknown("zzz", ["level", "format"]) == said
