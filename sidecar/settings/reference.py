"""
The reference of every setting, made from the models: it cannot drift from them.

The meaning of a setting is the docstring under it; pydantic does not keep docstrings,
so they are read from the source of the model.
"""

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sidecar.settings import introspection
from sidecar.settings.environment import variable
from sidecar.settings.models import Settings
from sidecar.settings.values import Address

EXAMPLE_NAMES: Final = {"upstreams": "flownally", "webhooks": "inbox"}
OPTIONAL_SECTIONS: Final = ("webhooks", "webhook_listener", "rotation")
# Not required by themselves, but one of the two is: the example shows this one.
SHOWN: Final = ("upstreams", "*", "credential", "secret_id")
WIDTH: Final = 88
BEGIN: Final = "<!-- settings:begin -->"
END: Final = "<!-- settings:end -->"


@functools.cache
def meanings(table: type[BaseModel]) -> dict[str, str]:
    """Read the docstrings under the settings of a table, in one line each."""
    found: dict[str, str] = {}
    for model in reversed(table.__mro__):
        if issubclass(model, BaseModel) and model.__module__.startswith("sidecar."):
            found |= _docstrings(model)
    return found


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    found: dict[str, str] = {}
    name = ""
    for node in ast.iter_child_nodes(definition):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)):
                pass
            case ast.Expr(value=ast.Constant(value=str(text))) if name:
                found[name] = " ".join(text.split())
                name = ""
            case _:
                name = ""
    return found


def meaning(path: tuple[str, ...]) -> str:
    """Tell what a setting means."""
    _, table = introspection.at(Settings, path[:-1])
    return meanings(table or Settings)[path[-1]]


def accepted(field: FieldInfo) -> str:
    """Tell in a few words which values a setting accepts."""
    kind = introspection.bare(field.annotation)
    if get_origin(kind) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(kind))
    if kind in {int, float}:
        least = [m.ge for m in field.metadata if isinstance(m, annotated_types.Ge)]
        most = [m.le for m in field.metadata if isinstance(m, annotated_types.Le)]
        if least and most:
            return (
                f"{introspection.as_toml(least[0])} to {introspection.as_toml(most[0])}"
            )
        return f"{introspection.as_toml(least[0])} or more" if least else "number"
    if introspection.is_list(field):
        return "list"
    return {str: "text", Address: "address", Path: "path"}.get(kind, "")


def default(field: FieldInfo) -> str:
    """Tell what holds when a setting is not set, as TOML."""
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True, validated_data={})
    return "" if value is None else introspection.as_toml(value)


def markdown() -> str:
    """Render every setting as one Markdown table."""
    lines = [
        "| setting | default | values | meaning |",
        "|---|---|---|---|",
    ]
    for path, field in introspection.leaves(Settings):
        name = ".".join(
            "NAME" if step == introspection.ANY_NAME else step for step in path
        )
        fallback = default(field)
        shown = f"`{fallback}`" if fallback else ""
        if field.is_required():
            shown = "required"
        cells = (f"`{name}`", shown, accepted(field), meaning(path))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def embed(document: str) -> str:
    """
    Put the table into a document, between its two markers.

    Raises:
        ValueError: the document has no markers.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        message = f"the document has no {BEGIN} and {END}"
        raise ValueError(message)
    return f"{before}{BEGIN}\n{markdown()}{END}{after}"


def toml() -> str:
    """Render an example file: required settings set, every other one as a comment."""
    lines = [
        "# Every setting of the sidecar; what is commented out is the default or an"
    ]
    lines += [
        "# example. Each can also be set by a variable, such as",
        "# " + _example(),
    ]
    section: tuple[str, ...] = ()
    for path, field in introspection.leaves(Settings):
        off = "# " if path[0] in OPTIONAL_SECTIONS else ""
        if path[:-1] != section:
            section = path[:-1]
            lines += ["", f"{off}[{'.'.join(_named(section))}]"]
        lines += textwrap.wrap(
            meaning(path), WIDTH, initial_indent="# ", subsequent_indent="# "
        )
        unset = "" if field.is_required() or path == SHOWN else "# "
        value = default(field) or introspection.example_of(field)
        lines.append(f"{off or unset}{path[-1]} = {value}")
    return "\n".join(lines) + "\n"


def _named(path: tuple[str, ...]) -> Iterator[str]:
    for above, step in zip(("", *path), path, strict=False):
        yield EXAMPLE_NAMES[above] if step == introspection.ANY_NAME else step


def _example() -> str:
    path = ("upstreams", "*", "credential", "refresh_seconds")
    return f"{variable(_named(path))}=60; the variable wins."
