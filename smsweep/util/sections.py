"""Mappings with known keys as pydantic models, and the field types that they share."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any, TypeGuard, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from smsweep.errors import ConfigError

ModelT = TypeVar("ModelT", bound=BaseModel)


class Section(BaseModel):
    """A mapping with known keys. A field's description completes the messages about it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_null(cls, value: Any) -> Any:
        # None is the default of most fields, but a null in a document is a key without a value
        if value is None:
            raise expected("a value")
        return value


def expected(what: str) -> PydanticCustomError:
    """Return the error that a validator raises for a value of the wrong kind."""
    return PydanticCustomError("expected", "{what}", {"what": what})


def is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    return is_number(value) and (isinstance(value, int) or value.is_integer())


def _number(value: Any) -> Any:
    # the reader reports infinities and NaN once for the whole document
    if not is_number(value):
        raise expected("a number")
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise expected("a number that a float can represent")
    return value


def _whole(value: Any) -> Any:
    if not is_whole(value) or value < 0:
        raise expected("a whole number, 0 or more")
    return int(value)


def _positive(value: Any) -> Any:
    if not is_number(value) or not value > 0:
        raise expected("a number above 0")
    return _number(value)


def _above_one(value: Any) -> Any:
    if not is_number(value) or not value > 1:
        raise expected("a number above 1")
    return _number(value)


def _count(value: Any) -> Any:
    if not is_whole(value) or value < 1:
        raise expected("a whole number above 0")
    return int(value)


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise expected("text")
    if not value.strip():
        raise expected("text that is not blank")
    return value


Number = Annotated[float, BeforeValidator(_number), WithJsonSchema({"type": "number"})]
Positive = Annotated[float, BeforeValidator(_positive), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
AboveOne = Annotated[float, BeforeValidator(_above_one), WithJsonSchema({"type": "number", "exclusiveMinimum": 1})]
Whole = Annotated[int, BeforeValidator(_whole), WithJsonSchema({"type": "integer", "minimum": 0})]
Count = Annotated[int, BeforeValidator(_count), WithJsonSchema({"type": "integer", "minimum": 1})]
Text = Annotated[str, BeforeValidator(_text), Field(json_schema_extra={"minLength": 1})]


def problem(key: str, text: str) -> PydanticCustomError:
    """Return the error that a model validator raises for a key that does not fit the other keys.

    Args:
        key: The key that the message is about; "" for the whole mapping.
        text: The problem and its fix.
    """
    return PydanticCustomError("problem", "{text}", {"key": key, "text": text})


_LIMITS = {
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "multiple_of": "a multiple of {multiple_of}",
}
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
    "model": "a mapping",
}


def plain_message(error: ErrorDetails) -> str:
    """Return an error of pydantic in the wording of smsweep's other messages, without the value."""
    kind, limits = error["type"], error.get("ctx", {})
    if kind in _LIMITS:
        return f"expected {_LIMITS[kind].format_map(limits)}"
    if kind == "extra_forbidden":
        return "unknown key; remove it"
    if kind == "missing":
        return "missing; add it"
    name, _, rest = kind.partition("_")
    if name in _KINDS and rest.partition("_")[0] in ("type", "parsing", "from", "number"):
        return f"expected {_KINDS[name]}"
    return error["msg"].removeprefix("Value error, ").removeprefix("Input should ")


def read_options(model: type[ModelT], data: Mapping[str, Any], where: str) -> ModelT:
    """Return a mapping as a model.

    Raises:
        ConfigError: The data do not fit the model. `where` is the key that holds the mapping.
    """
    try:
        return model.model_validate(dict(data))
    except ValidationError as err:
        raise ConfigError(
            [
                f"{'.'.join(map(str, (where, *error['loc'])))}: {plain_message(error)}"
                for error in err.errors(include_url=False)
            ]
        ) from err
