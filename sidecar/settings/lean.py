"""
The settings as plain values, for a process that should not hold pydantic.

Rule 1: `LeanTable` has the attributes of the table that it was made from, with equal
values; a test walks through all of them. To a type checker it is that table.
Rule 2: nothing here imports pydantic, or what imports it.
"""

import json
from pathlib import Path
from typing import Any, Final, Never, Protocol

from sidecar.settings.values import Address

ADDRESS: Final = "\0address"
PATH: Final = "\0path"
TABLE: Final = "\0table"
"""Marks of what JSON has not; no name of a setting or a table begins with a NUL."""


class Model(Protocol):
    """What is needed of a pydantic model."""

    def __iter__(self) -> Any:
        """Give pairs of name and value."""


class LeanTable:
    """A table of the settings: frozen, with the attributes of its model."""

    __slots__ = ("__values",)

    def __init__(self, values: dict[str, Any]) -> None:
        object.__setattr__(self, "_LeanTable__values", values)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__values[name]
        except KeyError:
            message = f"there is no setting {name!r}"
            raise AttributeError(message) from None

    def __setattr__(self, name: str, value: object) -> Never:
        message = f"settings are frozen: {name!r} cannot be set"
        raise AttributeError(message)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LeanTable):
            return NotImplemented
        return self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]  # as dicts, which it holds

    def __repr__(self) -> str:
        return f"LeanTable({self.__values!r})"

    def model_dump(self) -> dict[str, Any]:
        """Give the values by name, as pydantic's method does for a flat table."""
        return dict(self.__values)


def to_json(settings: Model) -> str:
    """Write settings so that `from_json` reads them back."""
    return json.dumps(_packed(settings))


def from_json(text: str) -> LeanTable:
    """Read settings back, without the models."""
    table: LeanTable = json.loads(text, object_hook=_unpacked)
    return table


def _packed(value: Any) -> Any:
    """Turn values into what JSON has."""
    match value:
        case Address():
            return {ADDRESS: [value.host, value.port, value.path]}
        case Path():
            return {PATH: str(value)}
        case dict():
            return {name: _packed(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_packed(inner) for inner in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            return {TABLE: {name: _packed(inner) for name, inner in value}}


def _unpacked(found: dict[str, Any]) -> Any:
    """Turn an object of JSON back into what it was; inner ones came first."""
    match found:
        case {"\0address": [host, port, path]}:
            return Address(host, port, path)
        case {"\0path": path}:
            return Path(path)
        case {"\0table": values}:
            return LeanTable({n: _frozen(value) for n, value in values.items()})
        case _:
            return found


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
