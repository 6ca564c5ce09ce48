"""
From a file and an environment to `Settings`, or to every problem at once.

The environment is stronger than the file, the file stronger than the defaults. No
problem repeats a value, because the value may be a key in the wrong place.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from sidecar.errors import Problem, SettingsInvalid
from sidecar.settings import cross_checks, environment, introspection
from sidecar.settings.base import Table
from sidecar.settings.model import Settings

ADAPTER: Final = TypeAdapter(Settings)
MAX_FILE_BYTES: Final = 1 << 20
# What people call a key when they write it into the settings.
KEY_LIKE: Final = re.compile(r"(api_?)?key|secret|token|password|bearer|authorization")
RULES: Final = {
    "missing": "is required",
    "string_type": "must be text",
    "string_unicode": "must be text in UTF-8",
    "string_too_short": "must not be empty",
    "string_too_long": "is too long",
    "string_pattern_mismatch": "is not in the form that is needed",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "dataclass_type": "must be a table",
    "dict_type": "must be a table of named tables",
    "tuple_type": "must be a list",
    "path_type": "must be the path of a file",
}


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """
    Load the settings.

    Args:
        path: The TOML file; None when the environment says everything.
        environ: The process's environment.

    Raises:
        SettingsInvalid: with every problem that was found.
    """
    file = _read_file(path) if path is not None else {}
    found = environment.read(environ, file)
    values = _merge(file, found.values)
    _add_region(values, environ)
    problems = found.problems
    settings = None
    try:
        settings = ADAPTER.validate_python(_opened(values, Settings))
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False)
        problems += [_problem(error, found.variables) for error in errors]
    problems += cross_checks.problems(values, environ)
    if settings is None or problems:
        raise SettingsInvalid(problems)
    return settings


def _read_file(path: Path) -> dict[str, Any]:
    reason, values = _parsed(path)
    # Raised here, not where it was found: the context of an exception is kept, and a
    # parser's holds the text that it could not read.
    if reason:
        raise SettingsInvalid([Problem(str(path), reason)])
    return values


def _parsed(path: Path) -> tuple[str, dict[str, Any]]:
    """Read a file; return the problem, or an empty text, and the values."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            return f"is larger than {MAX_FILE_BYTES} bytes", {}
        return "", tomllib.loads(data.decode())
    except OSError as exc:
        return f"cannot be read: {exc.strerror or type(exc).__name__}", {}
    except UnicodeDecodeError:
        return "is not UTF-8", {}
    except tomllib.TOMLDecodeError as exc:
        # Only the place: the text of the error may quote what stands there.
        place = re.search(r"\(at (.*)\)$", str(exc))
        return f"is not TOML: {place[1] if place else 'see its syntax'}", {}
    except (ValueError, RecursionError):  # a NUL in the path; brackets in brackets
        return "is not TOML", {}


def _merge(weak: Mapping[str, Any], strong: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(weak)
    for name, value in strong.items():
        old = merged.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[name] = _merge(old, value)
        else:
            merged[name] = value
    return merged


def _opened(values: Mapping[str, Any], table: type[Table]) -> dict[str, Any]:
    """Put an empty table where one is required: then each missing setting is named."""
    opened = dict(values)
    for name, setting in introspection.settings_of(table).items():
        value = opened.get(name, {} if setting.required else None)
        named, inner = setting.named_table, setting.table
        if named and isinstance(value, Mapping):
            opened[name] = {
                key: _opened(entry, named) if isinstance(entry, Mapping) else entry
                for key, entry in value.items()
            }
        elif inner and isinstance(value, Mapping):
            opened[name] = _opened(value, inner)
    return opened


def _add_region(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    # boto3 reads AWS_DEFAULT_REGION only; pods have AWS_REGION.
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    aws = values.get("aws", {})
    if region and isinstance(aws, dict) and not aws.get("region"):
        values["aws"] = aws | {"region": region}


def _unknown(name: str, table: type[Table] | None) -> str:
    if KEY_LIKE.fullmatch(name.lower()):
        return "is not a setting: keys stay out of settings, secret_id names the secret"
    return environment.unknown(name, introspection.settings_of(table or Settings))


def _problem(error: ErrorDetails, variables: Mapping[tuple[str, ...], str]) -> Problem:
    steps = [step for step in error["loc"] if step != "[key]"]
    setting, _ = introspection.at(Settings, steps)
    reason = _reason(error, steps)
    if variable := variables.get(tuple(str(step) for step in steps)):
        reason += f" (set by {variable})"
    return Problem(_dotted(steps), reason, setting.example if setting else "")


def _reason(error: ErrorDetails, steps: list[int | str]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    match kind:
        case "unexpected_keyword_argument":
            _, table = introspection.at(Settings, steps[:-1])
            return _unknown(str(steps[-1]), table)
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"must be {context['expected']}"
        case "greater_than_equal":
            return f"must be at least {introspection.as_toml(context['ge'])}"
        case "less_than_equal":
            return f"must be at most {introspection.as_toml(context['le'])}"
        case _:
            return RULES.get(kind, "is not valid")


def _dotted(steps: list[int | str]) -> str:
    text = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps)
    return text.removeprefix(".")
