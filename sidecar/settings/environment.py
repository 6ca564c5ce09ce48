"""
Settings from the environment: `SIDECAR_A__B__C` is `c` in the table `[a.b]`.

A variable with our prefix that is no setting is an error, because a misspelt one would
be ignored and the default used. pydantic-settings, for one, ignores it at the top level,
stops at the first value that is not JSON, and knows no list by lines.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.errors import Problem
from sidecar.settings import introspection
from sidecar.settings.base import Table
from sidecar.settings.introspection import Setting
from sidecar.settings.model import Settings

PREFIX: Final = "SIDECAR_"
DELIMITER: Final = "__"
CONFIG_VARIABLE: Final = "SIDECAR_CONFIG"
# Kubernetes sets these in every pod for a Service called sidecar or sidecar-...
SERVICE_LINK: Final = re.compile(
    r"SIDECAR_(?:[A-Z0-9]+_)*?(?:SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)"
    r"|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)
LINK_ADDRESS: Final = re.compile(r"(?:tcp|udp|sctp)://.*")


@dataclass(frozen=True, slots=True)
class Found:
    """What the environment says."""

    values: dict[str, Any] = field(default_factory=dict)
    """Nested as in the TOML file."""
    variables: dict[tuple[str, ...], str] = field(default_factory=dict)
    """Path of a setting -> the variable that set it."""
    problems: list[Problem] = field(default_factory=list)


def read(environ: Mapping[str, str], file: Mapping[str, Any]) -> Found:
    """
    Read every variable with our prefix.

    Args:
        environ: The environment.
        file: What the file says: a table that is called `crm-api` there is meant by
            `CRM_API`, because variables have no hyphen.
    """
    found = Found()
    ours = [name for name in environ if name.startswith(PREFIX)]
    # The outer first, so that SIDECAR_LOG__LEVEL is stronger than SIDECAR_LOG={...}.
    for name in sorted(ours, key=lambda name: (name.count(DELIMITER), name)):
        value = environ[name]
        if name == CONFIG_VARIABLE or _is_service_link(name, value):
            continue
        steps = name.removeprefix(PREFIX).lower().split(DELIMITER)
        path, setting = _resolve(steps, file)
        if setting is None:
            found.problems.append(Problem(name, _unknown(name, steps)))
            continue
        try:
            decoded = _decode(setting, value)
        except (ValueError, RecursionError):
            rule = "must be JSON: a list" if setting.is_list else "must be JSON"
            found.problems.append(Problem(name, rule, setting.example))
            continue
        _put(found.values, path, decoded)
        found.variables[path] = name
    return found


def _is_service_link(name: str, value: str) -> bool:
    if not SERVICE_LINK.fullmatch(name) or DELIMITER in name:
        return False
    return "_SERVICE_" in name or "_TCP" in name or bool(LINK_ADDRESS.fullmatch(value))


def _resolve(
    steps: list[str], file: Mapping[str, Any]
) -> tuple[tuple[str, ...], Setting | None]:
    path: list[str] = []
    table: type[Table] | None = Settings
    named: type[Table] | None = None
    setting: Setting | None = None
    place: Any = file
    for step in steps:
        if named is not None and step:
            path.append(_name_in_file(step, place))
            table, named, setting = named, None, None
        elif table is not None and step in introspection.settings_of(table):
            path.append(step)
            setting = introspection.settings_of(table)[step]
            table, named = setting.table, setting.named_table
        else:
            return tuple(path), None
        place = place.get(path[-1]) if isinstance(place, Mapping) else None
    return tuple(path), setting


def _name_in_file(step: str, tables: object) -> str:
    names = tables if isinstance(tables, Mapping) else {}
    return next((name for name in names if name.replace("-", "_") == step), step)


def _unknown(name: str, steps: list[str]) -> str:
    table = steps[1] if len(steps) > 1 and steps[1] else "<name>"
    known = [
        variable(step if step != introspection.ANY_NAME else table for step in path)
        for path, _ in introspection.leaves(Settings)
    ]
    return unknown(name, [CONFIG_VARIABLE, *known])


def unknown(name: str, known: Iterable[str]) -> str:
    """Say that there is no such setting, and which name is the most similar one."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return "is not a setting" + (f"; did you mean {close[0]}?" if close else "")


def variable(path: Iterable[str]) -> str:
    """Name the variable of a setting."""
    return PREFIX + DELIMITER.join(step.upper() for step in path)


def _decode(setting: Setting, value: str) -> object:
    if setting.is_list:
        if value.lstrip().startswith("["):
            return json.loads(value)
        return [line.strip() for line in value.splitlines() if line.strip()]
    if setting.table is None and setting.named_table is None:
        return value
    decoded = json.loads(value)
    if not isinstance(decoded, dict):
        message = "not an object"
        raise ValueError(message)  # noqa: TRY004  (reported as a problem)
    return decoded


def _put(values: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for step in path[:-1]:
        inner = values.setdefault(step, {})
        if not isinstance(inner, dict):
            inner = values[step] = {}
        values = inner
    values[path[-1]] = value
