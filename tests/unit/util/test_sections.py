"""Errors of pydantic, in the wording of smsweep."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from smsweep.errors import ConfigError
from smsweep.util.sections import read_options


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int = Field(1, ge=1, le=9)
    rate: float = Field(1.0, gt=0, lt=2)
    kind: Literal["a", "b"] = "a"
    names: list[str] = []
    even: int = 0

    @field_validator("even")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("Odd numbers are not possible; use an even one")
        return value


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("count", 0, "expected 1 or more"),
        ("count", 10, "expected 9 or less"),
        ("count", "many", "expected a whole number"),
        ("count", 1.5, "expected a whole number"),
        ("rate", 0, "expected more than 0.0"),
        ("rate", 2, "expected less than 2.0"),
        ("rate", "x", "expected a number"),
        ("kind", "c", "expected 'a' or 'b'"),
        ("names", "x", "expected a list"),
        ("even", 3, "Odd numbers are not possible; use an even one"),
        ("other", 1, "unknown key; remove it"),
    ],
)
def test_error_of_a_value_is_in_plain_words(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_options(Options, {key: value}, "plug")
    assert str(raised.value) == f"plug.{key}: {message}"
