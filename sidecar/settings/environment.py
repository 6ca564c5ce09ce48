"""
Settings from the environment: `SIDECAR_A__B__C` is `c` in the table `[a.b]`.

A variable with our prefix that is no setting is an error, because a misspelt one would
be ignored and the default used. pydantic-settings ignores it at the top level.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sidecar.errors import Problem
from sidecar.settings import introspection

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


def read(
    root: type[BaseModel], environ: Mapping[str, str], file: Mapping[str, Any]
) -> Found:
    """
    Read every variable with our prefix.

    Args:
        root: The model of the settings.
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
        path, setting = _resolve(root, steps, file)
        if setting is None:
            found.problems.append(Problem(name, _unknown(root, name, steps)))
            continue
        try:
            decoded = _decode(setting, value)
        except (ValueError, RecursionError):
            rule = (
                "must be JSON: a list"
                if introspection.is_list(setting)
                else "must be JSON"
            )
            found.problems.append(
                Problem(name, rule, introspection.example_of(setting))
            )
            continue
        _put(found.values, path, decoded)
        found.variables[path] = name
    return found


def _is_service_link(name: str, value: str) -> bool:
    if not SERVICE_LINK.fullmatch(name) or DELIMITER in name:
        return False
    return "_SERVICE_" in name or "_TCP" in name or bool(LINK_ADDRESS.fullmatch(value))


def _resolve(
    root: type[BaseModel], steps: list[str], file: Mapping[str, Any]
) -> tuple[tuple[str, ...], FieldInfo | None]:
    path: list[str] = []
    table: type[BaseModel] | None = root
    named: type[BaseModel] | None = None
    setting: FieldInfo | None = None
    place: Any = file
    for step in steps:
        if named is not None and step:
            path.append(_name_in_file(step, place))
            table, named, setting = named, None, None
        elif table is not None and step in table.model_fields:
            path.append(step)
            setting = table.model_fields[step]
            table, named = (
                introspection.table_of(setting),
                introspection.named_table_of(setting),
            )
        else:
            return tuple(path), None
        place = place.get(path[-1]) if isinstance(place, Mapping) else None
    return tuple(path), setting


def _name_in_file(step: str, tables: object) -> str:
    names = tables if isinstance(tables, Mapping) else {}
    return next((name for name in names if name.replace("-", "_") == step), step)


def _unknown(root: type[BaseModel], name: str, steps: list[str]) -> str:
    table = steps[1] if len(steps) > 1 and steps[1] else "<name>"
    known = [
        variable(step if step != introspection.ANY_NAME else table for step in path)
        for path, _ in introspection.leaves(root)
    ]
    close = introspection.nearest(name, [CONFIG_VARIABLE, *known])
    return "is not a setting" + (f"; did you mean {close}?" if close else "")


def variable(path: Any) -> str:
    """Name the variable of a setting."""
    return PREFIX + DELIMITER.join(step.upper() for step in path)


def _decode(setting: FieldInfo, value: str) -> object:
    if introspection.is_list(setting):
        if value.lstrip().startswith("["):
            return json.loads(value)
        return [line.strip() for line in value.splitlines() if line.strip()]
    if (
        introspection.table_of(setting) is None
        and introspection.named_table_of(setting) is None
    ):
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
