"""Each setting of a webhook endpoint reaches the receiver."""

import dataclasses
from pathlib import Path

import pytest

from sidecar.assembly.webhooks import endpoint_of, receiver_of
from sidecar.core.secrecy.secret import Secret
from sidecar.metrics import Metrics
from sidecar.settings import Settings
from sidecar.settings.names import check_table_name
from sidecar.webhook.options import EndpointOptions
from tests.support.full_settings import everything


@pytest.fixture(name="settings")
def _settings(tmp_path: Path) -> Settings:
    """Settings other than the defaults."""
    return everything(tmp_path)


def test_what_the_receiver_is_told_of_an_endpoint(settings: Settings) -> None:
    """One for one, by name; no option is left out."""
    options = endpoint_of("inbox", settings.webhooks["inbox"])
    told = dataclasses.asdict(options)

    assert told == {
        "name": "inbox",
        "forward_to": "http://127.0.0.1:3000/hooks",
        "tolerance_seconds": 41,
        "dedupe_seconds": 4200,
        "dedupe": "memory",
        "max_body_bytes": 43,
        "response_seconds": 44,
        "refresh_seconds": 45,
        "json_key": "secret",
    }


def test_both_sides_have_the_same_defaults(settings: Settings) -> None:
    """What the settings do not say is what the receiver would do by itself."""
    other = settings.webhooks["other"]
    options = endpoint_of("other", other)

    assert options == EndpointOptions(
        name="other", forward_to=other.forward_to, dedupe="dynamodb:ids"
    )


def test_endpoints_with_one_secret_share_its_source(settings: Settings) -> None:
    """It is asked once for both."""
    receiver = receiver_of(settings, Metrics("0"), lambda _, __: None)

    assert len(receiver._closing) == 2
    assert len(receiver._refreshers) == 2


def test_the_redactor_hears_of_every_secret(settings: Settings) -> None:
    """By an owner's name that no upstream can have: it would let go of its key."""
    held: dict[str, tuple[Secret, ...]] = {}
    receiver = receiver_of(settings, Metrics("0"), held.__setitem__)
    secrets = (Secret("one"), Secret("two"))
    receiver._dependencies.on_secrets("inbox", secrets)

    assert held == {"webhooks.inbox": secrets}
    with pytest.raises(ValueError, match="name"):
        check_table_name("webhooks.inbox")


def test_the_receiver_as_a_whole(settings: Settings) -> None:
    """Where DynamoDB is, and whether deliveries are logged."""
    options = receiver_of(settings, Metrics("0"), lambda _, __: None)._options

    assert [one.name for one in options.endpoints] == ["inbox", "copy", "other"]
    assert (options.region, options.endpoint_url) == (
        "eu-west-1",
        "http://127.0.0.1:4566",
    )
    assert options.log_delivered
