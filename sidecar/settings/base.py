"""What the tables of the settings have in common: closed, frozen, documented."""

from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
)

from sidecar.settings import names, urls, values


class Table(BaseModel):
    """
    A table of the settings; the docstring under a setting is its reference.

    `reference.py` reads these docstrings when somebody asks. pydantic's own
    `use_attribute_docstrings` would parse the source at every start (65 ms, 0.8 MB).
    """

    # extra="forbid": a misspelt key must stop the process, not be ignored.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _number(value: object) -> object:
    # pydantic would read `true` as 1.
    if isinstance(value, bool):
        values.refuse("must be a number")
    return value


def _unset(value: object) -> object:
    # An empty variable, or a chart's empty value, unsets an optional setting.
    return None if value == "" else value


Seconds = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Whole = Annotated[int, BeforeValidator(_number)]
Unset = BeforeValidator(_unset)
Text = Annotated[str, Field(min_length=1, max_length=255)]

AnyAddress = Annotated[values.Address, PlainValidator(values.parse_port_address)]
OwnAddress = Annotated[values.Address, PlainValidator(values.parse_loopback_address)]
Url = Annotated[str, AfterValidator(urls.check_url)]
BaseUrl = Annotated[str, AfterValidator(urls.check_base_url)]
ForwardUrl = Annotated[str, AfterValidator(urls.check_forward_url)]
HeaderName = Annotated[str, AfterValidator(values.check_header_name)]
Scheme = Annotated[str, AfterValidator(values.check_scheme)]
Probe = Annotated[str, AfterValidator(urls.check_probe)]
SecretName = Annotated[str, AfterValidator(values.check_secret_name)]
Dedupe = Annotated[str, AfterValidator(names.check_dedupe)]
Region = Annotated[str, AfterValidator(names.check_region)]
Operation = Annotated[str, AfterValidator(names.check_operation)]
TableName = Annotated[str, AfterValidator(names.check_table_name)]
