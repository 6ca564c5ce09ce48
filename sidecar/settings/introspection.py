"""The shape of the settings: which tables and settings there are, and their names."""

import difflib
import json
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sidecar.settings.values import Address

ANY_NAME: Final = "*"
"""Stands for the name of a table in `upstreams` and `webhooks`."""


def bare(annotation: Any) -> Any:
    """Take `Annotated` and `| None` off a type."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in {Union, types.UnionType}:
            kinds = [
                kind for kind in get_args(annotation) if kind is not types.NoneType
            ]
            if len(kinds) != 1:
                return annotation
            annotation = kinds[0]
        else:
            return annotation


def table_of(field: FieldInfo) -> type[BaseModel] | None:
    """Tell the table that a setting is, if it is one."""
    return _table(bare(field.annotation))


def item_table_of(field: FieldInfo) -> type[BaseModel] | None:
    """Tell the table that the items of a list are, if they are."""
    return _table(bare(get_args(bare(field.annotation))[0])) if is_list(field) else None


def _table(kind: Any) -> type[BaseModel] | None:
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def named_table_of(field: FieldInfo) -> type[BaseModel] | None:
    """Tell the table that each name of `upstreams` or `webhooks` holds."""
    kind = bare(field.annotation)
    if get_origin(kind) is not dict:
        return None
    table: type[BaseModel] = get_args(kind)[1]
    return table


def is_list(field: FieldInfo) -> bool:
    """Whether a setting is a list."""
    return get_origin(bare(field.annotation)) is tuple


def leaves(
    table: type[BaseModel], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Go through every setting that is not a table, in the order of the models."""
    for name, field in table.model_fields.items():
        path = (*above, name)
        if (named := named_table_of(field)) is not None:
            yield from leaves(named, (*path, ANY_NAME))
        elif (inner := table_of(field)) is not None:
            yield from leaves(inner, path)
        else:
            yield path, field


def at(
    table: type[BaseModel], path: Iterable[object]
) -> tuple[FieldInfo | None, type[BaseModel] | None]:
    """Find the setting at a path, and the table that it is or that its items are."""
    field: FieldInfo | None = None
    inner: type[BaseModel] | None = table
    named: type[BaseModel] | None = None
    for step in path:
        if isinstance(step, int):
            continue
        if named is not None:
            field, inner, named = None, named, None
        elif inner is not None and step in inner.model_fields:
            field = inner.model_fields[str(step)]
            inner = table_of(field) or item_table_of(field)
            named = named_table_of(field)
        else:
            return None, None
    return field, inner


def as_toml(value: object) -> str:
    """Write a value as TOML; JSON is the same for all that settings hold."""
    if isinstance(value, (Address, Path)):
        value = str(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(as_toml(item) for item in value)}]"
    if isinstance(value, BaseModel):
        return as_toml(next(iter(value.model_dump().values())))
    return json.dumps(value)


def example_of(field: FieldInfo | None) -> str:
    """Give a value that a setting accepts, or nothing."""
    if field is None:
        return ""
    if field.examples:
        return as_toml(field.examples[0])
    default = field.get_default(call_default_factory=True, validated_data={})
    if field.is_required() or default is None or isinstance(default, (dict, BaseModel)):
        return ""
    return as_toml(default)


def nearest(name: str, known: Iterable[str]) -> str:
    """Name the most similar of the known names; empty when none is similar."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return close[0] if close else ""
