"""Names of jobs, tables and operations."""

import pytest
from hypothesis import given, strategies as st

from sidecar.core.access.operations import Operations
from sidecar.settings import names


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("production-crm-sync", "production"),
        ("production-api-importer", "production"),
        ("production-billing-worker", "production"),
        ("staging-crm-sync", "staging"),
        ("development-bench", "development"),
        ("development-api", "development"),
        ("development-test", "development"),
    ],
)
def test_a_job_is_named_after_what_it_does(name: str, environment: str) -> None:
    """Its environment first; outside of production any name will do."""
    names.check_job_name(name, environment)


@pytest.mark.parametrize(
    ("name", "environment", "rule"),
    [
        pytest.param("backend", "production", "does not name the job", id="backend"),
        pytest.param("api", "production", "does not name the job", id="api"),
        pytest.param("test", "production", "does not name the job", id="test"),
        pytest.param(
            "production", "production", "does not name", id="only-environment"
        ),
        pytest.param("production-api", "production", "does not name", id="vague"),
        pytest.param("production-api-key", "production", "does not name", id="vaguer"),
        pytest.param(
            "production-test", "production", "does not name", id="test-in-prod"
        ),
        pytest.param("production-crm-test", "production", "another", id="crm-test"),
        pytest.param("production-staging-crm", "production", "another", id="mixed"),
        pytest.param("crm-sync", "production", "begin with", id="no-environment"),
        pytest.param("prod-crm-sync", "production", "begin with", id="abbreviation"),
        pytest.param("production-crm", "staging", "begin with", id="other"),
        pytest.param("development", "development", "words", id="one-word"),
        pytest.param("Production-crm", "production", "words", id="capital"),
        pytest.param("production_crm", "production", "words", id="underscore"),
        pytest.param("production-crm sync", "production", "words", id="space"),
        pytest.param("production-crm-", "production", "words", id="hyphen-last"),
        pytest.param("production--crm", "production", "words", id="hyphen-twice"),
        pytest.param("production-crm\n", "production", "words", id="newline"),
        pytest.param("production-" + "a" * 60, "production", "63", id="too-long"),
        pytest.param("", "development", "words", id="empty"),
    ],
)
def test_a_job_with_a_bad_name_is_refused(
    name: str, environment: str, rule: str
) -> None:
    """When the key leaks, the name must say what to stop."""
    with pytest.raises(ValueError, match=rule):
        names.check_job_name(name, environment)


@pytest.mark.parametrize("prefix", ["fln_test_", "fln_dev_", "fln-staging-", "TEST_"])
def test_production_never_expects_keys_of_another_environment(prefix: str) -> None:
    """`key_prefix` is what keeps a key of another environment out."""
    with pytest.raises(ValueError, match="another environment"):
        names.check_key_prefix(prefix, "production")


@pytest.mark.parametrize(
    ("prefix", "environment"),
    [
        ("fln_live_", "production"),
        ("", "production"),
        ("latest_", "production"),
        ("fln_test_", "development"),
        ("fln_live_", "development"),
    ],
)
def test_other_prefixes_are_accepted(prefix: str, environment: str) -> None:
    """Only production is known well enough to refuse."""
    names.check_key_prefix(prefix, environment)


@pytest.mark.parametrize("name", ["flownally", "crm-api", "crm_api", "a1", "a"])
def test_a_table_name(name: str) -> None:
    """It becomes a metric label and part of a variable."""
    assert names.check_table_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "Flownally", "1a", "a__b", "a--b", "a b", "a/b", "_a", "a-", "a" * 64]
)
def test_a_table_name_that_no_variable_can_have(name: str) -> None:
    """Two underscores separate tables in a variable."""
    with pytest.raises(ValueError, match="a name is"):
        names.check_table_name(name)


@pytest.mark.parametrize("text", ["memory", "dynamodb:sidecar-webhooks"])
def test_where_webhook_ids_are_remembered(text: str) -> None:
    """In this process, or in a table of the fleet."""
    assert names.check_dedupe(text) == text


@pytest.mark.parametrize("text", ["redis", "dynamodb", "dynamodb:", "dynamodb:a b", ""])
def test_no_other_store_of_ids(text: str) -> None:
    """Table names as CreateTable accepts them."""
    with pytest.raises(ValueError, match="dynamodb:TABLE"):
        names.check_dedupe(text)


@pytest.mark.parametrize(
    "text",
    ["eu-west-1", "us-gov-west-1", "ap-southeast-2", "cn-north-1", "us-iso-east-1"],
)
def test_a_region(text: str) -> None:
    """In every partition."""
    assert names.check_region(text) == text


@pytest.mark.parametrize(
    "text", ["Ireland", "eu-west-1a", "eu-west", "eu-west-1.x.org"]
)
def test_what_is_no_region(text: str) -> None:
    """It would become part of a host name."""
    with pytest.raises(ValueError, match="region"):
        names.check_region(text)


@pytest.mark.parametrize(
    "text",
    [
        "GET /contacts",
        "GET,PATCH /contacts/{id}",
        "* /service-accounts/**",
        "* /**",
        "GET /",
        "GET /contacts/",
        "GET /a%2Fb/c.json",
        "PROPFIND /x",
        "GET /{a}/b/{c_1}",
        "GET,*,PUT /a",
    ],
)
def test_an_operation(text: str) -> None:
    """Methods and a path pattern."""
    assert names.check_operation(text) == text


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param("/contacts", "METHOD /path", id="no-method"),
        pytest.param("GET", "METHOD /path", id="no-path"),
        pytest.param("GET contacts", "METHOD /path", id="relative"),
        pytest.param("", "METHOD /path", id="empty"),
        pytest.param("get /contacts", "upper-case", id="lower-case"),
        pytest.param("GET,, /contacts", "upper-case", id="comma"),
        pytest.param(" /contacts", "upper-case", id="empty-method"),
        pytest.param("GET /a/**/b", "last", id="stars-in-the-middle"),
        pytest.param("GET /a/*", "segment", id="one-star"),
        pytest.param("GET /a/b**", "segment", id="stars-beside-text"),
        pytest.param("GET /a/{id", "segment", id="half-a-parameter"),
        pytest.param("GET /a/x{id}", "segment", id="text-and-parameter"),
        pytest.param("GET /a/{}", "segment", id="nameless"),
        pytest.param("GET /a/../b", "segments", id="dots"),
        pytest.param("GET /a?b=c", "segment", id="query"),
        pytest.param("GET /a%zz", "segment", id="bad-escape"),
        pytest.param("GET /a b", "segment", id="space"),
        pytest.param("GET /ü", "segment", id="not-ascii"),
        pytest.param("GET /a\n", "segment", id="newline"),
    ],
)
def test_an_operation_that_would_not_mean_what_it_says(text: str, rule: str) -> None:
    """A pattern that never matches would refuse or allow the wrong calls."""
    with pytest.raises(ValueError, match=rule):
        names.check_operation(text)


@given(
    st.from_regex(
        r"(GET|POST|\*|X)(,PUT)?( )/?([a-z.%2F{}*]{0,6}/){0,3}(\*\*)?", fullmatch=True
    )
)
def test_the_proxy_accepts_the_operations_that_the_settings_accept(text: str) -> None:
    """`Operations` would end the process after the settings were called right."""
    try:
        names.check_operation(text)
    except ValueError:
        return

    assert text.partition(" ")[2] in Operations([(text, ())], [text]).labels


@given(st.text())
def test_checking_names_raises_nothing_but_value_errors(text: str) -> None:
    """Any other exception would hide every other problem."""
    for check in (names.check_operation, names.check_table_name, names.check_region):
        try:
            assert check(text) == text
        except ValueError:
            continue
