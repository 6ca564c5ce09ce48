"""The shape of the settings: what other modules find by it."""

from pathlib import Path
from typing import Annotated

import pytest

from sidecar.settings import introspection
from sidecar.settings.model import Settings
from sidecar.settings.tables import OperationSettings
from sidecar.settings.values import Address


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (int, int),
        (int | None, int),
        (Annotated[int, 5], int),
        pytest.param(Annotated[Annotated[int, 5] | None, 6], int, id="nested"),
        (int | str, int | str),
        (dict[str, int] | None, dict[str, int]),
    ],
)
def test_a_bare_type(annotation: object, kind: object) -> None:
    """Without annotations and None; a real choice stays."""
    assert introspection.opened(annotation)[0] == kind


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("log", True),
        ("log.level", True),
        ("upstreams", True),
        ("upstreams.any", False),
        ("upstreams.any.limits.queue_seconds", True),
        ("logs", False),
        ("log.level.x", False),
        ("log.levl.x", False),
        ("rotation.credential.secret_id", True),
    ],
)
def test_a_setting_is_found_by_its_path(path: str, found: bool) -> None:
    """The name of a table under `upstreams` is anything."""
    field, _ = introspection.at(Settings, path.split("."))

    assert (field is not None) is found


def test_positions_in_a_list_are_skipped() -> None:
    """`allow[1].scopes` is `scopes` of an operation."""
    path = ("upstreams", "x", "allow", 1)

    assert introspection.at(Settings, path)[1] is OperationSettings
    assert (
        introspection.at(Settings, (*path, "scopes"))[0]
        is introspection.settings_of(OperationSettings)["scopes"]
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", '"a\\nb"'),
        (5, "5"),
        (5.0, "5"),
        (0.5, "0.5"),
        (True, "true"),
        (Address("::1", 5), '"[::1]:5"'),
        (Path("/a"), '"/a"'),
        (("a", "b"), '["a", "b"]'),
        ([1], "[1]"),
        ((OperationSettings(operation="GET /a"),), '["GET /a"]'),
    ],
)
def test_a_value_as_toml(value: object, text: str) -> None:
    """As it would stand in the file."""
    assert introspection.as_toml(value) == text


@pytest.mark.parametrize(
    ("path", "example"),
    [
        ("job.name", '"production-crm-sync"'),
        ("log.level", '"info"'),
        ("drain.timeout_seconds", "25"),
        ("upstreams.x.deny", '["* /service-accounts/**"]'),
        ("log", ""),
        ("upstreams", ""),
        ("upstreams.x.credential", ""),
    ],
)
def test_an_example(path: str, example: str) -> None:
    """The example of the model, or its default; tables have none."""
    setting, _ = introspection.at(Settings, path.split("."))

    assert setting is not None
    assert setting.example == example
