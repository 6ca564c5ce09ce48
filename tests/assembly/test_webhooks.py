"""Each setting of a webhook endpoint reaches the receiver."""

import dataclasses
from pathlib import Path

import pytest

from sidecar.assembly.webhooks import endpoint_of, receiver_of
from sidecar.core.secret import Secret
from sidecar.metrics import Metrics
from sidecar.settings import Settings
from sidecar.webhook.options import EndpointOptions
from tests.assembly.support import everything


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
    receiver = receiver_of(settings, Metrics("0"), lambda _: None)

    assert len(receiver._closing) == 2
    assert len(receiver._refreshers) == 2


def test_the_redactor_hears_of_every_secret(settings: Settings) -> None:
    """Before one of them is used."""
    learnt: list[Secret] = []
    receiver = receiver_of(settings, Metrics("0"), learnt.append)
    held = (Secret("whsec_one"), Secret("whsec_two"))
    receiver._tools.on_secrets(held)

    assert learnt == list(held)


def test_the_receiver_as_a_whole(settings: Settings) -> None:
    """Where DynamoDB is, and whether deliveries are logged."""
    options = receiver_of(settings, Metrics("0"), lambda _: None)._options

    assert [one.name for one in options.endpoints] == ["inbox", "copy", "other"]
    assert (options.region, options.endpoint_url) == (
        "eu-west-1",
        "http://127.0.0.1:4566",
    )
    assert options.log_delivered
