"""
The reference of every setting, made from the tree: it cannot drift from it.

The meaning of a setting is the docstring under it. Python does not keep such docstrings,
so they are read from the source of the table.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Final

from sidecar.settings import introspection
from sidecar.settings.base import Table
from sidecar.settings.environment import variable
from sidecar.settings.model import Settings

EXAMPLE_NAMES: Final = {"upstreams": "flownally", "webhooks": "inbox"}
OPTIONAL_SECTIONS: Final = ("webhooks", "webhook_listener", "rotation")
# Not required by themselves, but one of the two is: the example shows this one.
SHOWN: Final = ("upstreams", "*", "credential", "secret_id")
WIDTH: Final = 88
BEGIN: Final = "<!-- settings:begin -->"
END: Final = "<!-- settings:end -->"


def meanings(table: type[Table]) -> dict[str, str]:
    """Read the docstrings under the settings of a table, in one line each."""
    found: dict[str, str] = {}
    for base in reversed(table.__mro__):
        if issubclass(base, Table):
            found |= _docstrings(base)
    return found


def _docstrings(table: type[Table]) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(table))).body
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
    """Return what a setting means."""
    _, table = introspection.at(Settings, path[:-1])
    return meanings(table or Settings)[path[-1]]


def markdown() -> str:
    """Render every setting as one Markdown table."""
    lines = [
        "| setting | default | values | meaning |",
        "|---|---|---|---|",
    ]
    for path, setting in introspection.leaves(Settings):
        name = ".".join(path).replace(introspection.ANY_NAME, "NAME")
        default = f"`{setting.default_toml}`" if setting.default_toml else ""
        shown = "required" if setting.required else default
        cells = (f"`{name}`", shown, setting.accepts, meaning(path))
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
    for path, setting in introspection.leaves(Settings):
        off = "# " if path[0] in OPTIONAL_SECTIONS else ""
        if path[:-1] != section:
            section = path[:-1]
            lines += ["", f"{off}[{'.'.join(_named(section))}]"]
        lines += textwrap.wrap(
            meaning(path), WIDTH, initial_indent="# ", subsequent_indent="# "
        )
        unset = "" if setting.required or path == SHOWN else "# "
        value = setting.default_toml or setting.example
        lines.append(f"{off or unset}{path[-1]} = {value}")
    return "\n".join(lines) + "\n"


def _named(path: tuple[str, ...]) -> Iterator[str]:
    for above, step in zip(("", *path), path, strict=False):
        yield EXAMPLE_NAMES[above] if step == introspection.ANY_NAME else step


def _example() -> str:
    path = ("upstreams", "*", "credential", "refresh_seconds")
    return f"{variable(_named(path))}=60; the variable wins."
