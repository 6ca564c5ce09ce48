"""
The kinds of values that a setting can have, and the rules that each one must pass.

Rules are markers in `Annotated`. pydantic calls `__get_pydantic_core_schema__` when it
builds a validator; until then nothing here imports pydantic, which costs 12 MB.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

from sidecar.settings import names, urls, values


class Table:
    """A table of the settings; the docstring under a setting is its reference."""

    __slots__ = ()
    # extra="forbid": a misspelt key must stop the process, not be ignored.
    # validate_default: a rule that needs other settings also holds for a default.
    __pydantic_config__: ClassVar = {
        "extra": "forbid",
        "frozen": True,
        "hide_input_in_errors": True,
        "validate_default": True,
    }


@dataclass(frozen=True, slots=True)
class Rule:
    """A check that returns the value, or raises ValueError with the broken rule."""

    check: Callable[[Any], object]
    when: Literal["before", "after", "instead"] = "after"
    """Before, after or instead of the check of the value's type."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Add the check to the schema of the annotated type."""
        from pydantic_core import core_schema  # noqa: PLC0415  (only to validate)

        if self.when == "instead":
            return core_schema.no_info_plain_validator_function(
                self.check, json_schema_input_schema=core_schema.str_schema()
            )
        if self.when == "before":
            return core_schema.no_info_before_validator_function(
                self.check, handler(source)
            )
        return core_schema.no_info_after_validator_function(self.check, handler(source))


@dataclass(frozen=True, slots=True)
class TableRule:
    """A rule between a setting and the settings of its table that stand above it."""

    check: Callable[[Any, Mapping[str, Any]], None]
    """Called with the value and the valid settings above it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Add the check to the schema of the annotated type."""
        from pydantic_core import core_schema  # noqa: PLC0415  (only to validate)

        def checked(value: Any, info: Any) -> Any:
            self.check(value, info.data)
            return value

        return core_schema.with_info_after_validator_function(checked, handler(source))


@dataclass(frozen=True, slots=True)
class Number:
    """The range of an int or a float."""

    least: float | None = None
    most: float | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Return the schema of a number in this range."""
        del handler
        from pydantic_core import core_schema  # noqa: PLC0415  (only to validate)

        schema: Any = {"type": "int", "ge": self.least, "le": self.most}
        if source is float:
            schema |= {"type": "float", "allow_inf_nan": False}
        schema = {name: value for name, value in schema.items() if value is not None}
        return core_schema.no_info_before_validator_function(_not_bool, schema)


@dataclass(frozen=True, slots=True)
class Length:
    """The number of characters of a text."""

    least: int
    most: int

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Return the schema of a text of this length."""
        del source, handler
        from pydantic_core import core_schema  # noqa: PLC0415  (only to validate)

        return core_schema.str_schema(min_length=self.least, max_length=self.most)


@dataclass(frozen=True, slots=True)
class Example:
    """A value that the reference and the error messages show."""

    value: object


def _not_bool(value: object) -> object:
    # pydantic would read `true` as 1.
    if isinstance(value, bool):
        values.refuse("must be a number")
    return value


def _unset(value: object) -> object:
    return None if value == "" else value


UNSET: Final = Rule(_unset, "before")
"""An empty variable, or a chart's empty value, unsets an optional setting."""

Text = Annotated[str, Length(1, 255)]
AnyAddress = Annotated[values.Address, Rule(values.parse_port_address, "instead")]
OwnAddress = Annotated[values.Address, Rule(values.parse_loopback_address, "instead")]
Url = Annotated[str, Rule(urls.check_url)]
BaseUrl = Annotated[str, Rule(urls.check_base_url)]
ForwardUrl = Annotated[str, Rule(urls.check_forward_url)]
HeaderName = Annotated[str, Rule(values.check_header_name)]
Scheme = Annotated[str, Rule(values.check_scheme)]
Probe = Annotated[str, Rule(urls.check_probe)]
SecretName = Annotated[str, Rule(values.check_secret_name)]
Dedupe = Annotated[str, Rule(names.check_dedupe)]
Region = Annotated[str, Rule(names.check_region)]
Operation = Annotated[str, Rule(names.check_operation)]
TableName = Annotated[str, Rule(names.check_table_name)]
