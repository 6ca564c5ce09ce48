"""Which tables and settings there are: read from the dataclasses of the tree."""

import json
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from sidecar.settings.base import Example, Number, Table
from sidecar.settings.values import Address

ANY_NAME: Final = "*"
"""Stands for the name of a table in `upstreams` and `webhooks`."""


def opened(hint: Any) -> tuple[Any, list[object]]:
    """Take `Annotated` and `| None` off a type; return it and the annotations."""
    marks: list[object] = []
    while True:
        origin = get_origin(hint)
        if origin is Annotated:
            hint, *found = get_args(hint)
            marks += found
        elif origin in {Union, types.UnionType}:
            kinds = [kind for kind in get_args(hint) if kind is not types.NoneType]
            if len(kinds) != 1:
                return hint, marks
            hint = kinds[0]
        else:
            return hint, marks


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a table."""

    kind: Any
    """Its type, without annotations and `| None`."""
    marks: tuple[object, ...]
    default: Any
    """MISSING: the setting is required."""

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is MISSING

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return get_origin(self.kind) is tuple

    @property
    def table(self) -> type[Table] | None:
        """The table that it is, if it is one."""
        return _table(self.kind)

    @property
    def item_table(self) -> type[Table] | None:
        """The table that each item of a list is, if it is one."""
        return _table(opened(get_args(self.kind)[0])[0]) if self.is_list else None

    @property
    def named_table(self) -> type[Table] | None:
        """The table that each name of `upstreams` or `webhooks` holds."""
        return get_args(self.kind)[1] if get_origin(self.kind) is dict else None

    @property
    def number(self) -> Number | None:
        """The range of a number."""
        return next((mark for mark in self.marks if isinstance(mark, Number)), None)

    @property
    def default_toml(self) -> str:
        """The default as TOML; empty when there is none."""
        return "" if self.required or self.default is None else as_toml(self.default)

    @property
    def example(self) -> str:
        """A value that it accepts, as TOML; empty for a table."""
        for mark in self.marks:
            if isinstance(mark, Example):
                return as_toml(mark.value)
        return "" if self.table or self.named_table else self.default_toml

    @property
    def accepts(self) -> str:
        """The values that it accepts, in a few words."""
        if get_origin(self.kind) is Literal:
            return " or ".join(f"`{choice}`" for choice in get_args(self.kind))
        if (number := self.number) is not None:
            most = "or more" if number.most is None else f"to {as_toml(number.most)}"
            return f"{as_toml(number.least)} {most}"
        if self.is_list:
            return "list"
        return {str: "text", Address: "address", Path: "path"}.get(self.kind, "")


def _table(kind: Any) -> type[Table] | None:
    return kind if isinstance(kind, type) and issubclass(kind, Table) else None


def settings_of(table: type[Table]) -> Mapping[str, Setting]:
    """Return the settings of a table by name, in their order."""
    if table not in _KNOWN:
        _KNOWN[table] = _read(table)
    return _KNOWN[table]


_KNOWN: Final[dict[type[Table], Mapping[str, Setting]]] = {}


def _read(table: Any) -> Mapping[str, Setting]:
    hints = get_type_hints(table, include_extras=True)
    found = {}
    for field in fields(table):
        kind, marks = opened(hints[field.name])
        default = field.default
        if field.default_factory is not MISSING:
            default = field.default_factory()
        found[field.name] = Setting(kind, tuple(marks), default)
    return found


def leaves(
    table: type[Table], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Setting]]:
    """Go through every setting that is not a table, in the order of the tree."""
    for name, setting in settings_of(table).items():
        path = (*above, name)
        if (named := setting.named_table) is not None:
            yield from leaves(named, (*path, ANY_NAME))
        elif (inner := setting.table) is not None:
            yield from leaves(inner, path)
        else:
            yield path, setting


def at(
    table: type[Table], path: Iterable[object]
) -> tuple[Setting | None, type[Table] | None]:
    """Find the setting at a path, and the table that it is or that its items are."""
    setting: Setting | None = None
    inner: type[Table] | None = table
    named: type[Table] | None = None
    for step in path:
        if isinstance(step, int):
            continue
        if named is not None:
            setting, inner, named = None, named, None
        elif inner is not None and step in settings_of(inner):
            setting = settings_of(inner)[str(step)]
            inner, named = setting.table or setting.item_table, setting.named_table
        else:
            return None, None
    return setting, inner


def as_toml(value: Any) -> str:
    """Write a value as TOML; JSON is the same for all that settings hold."""
    if isinstance(value, (Address, Path)):
        value = str(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(as_toml(item) for item in value)}]"
    if isinstance(value, Table):  # an operation may be written as text
        return as_toml(getattr(value, next(iter(settings_of(type(value))))))
    return json.dumps(value)
