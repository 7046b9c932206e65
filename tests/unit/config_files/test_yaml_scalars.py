"""Tests that unquoted scalars are read as in YAML 1.2."""

from __future__ import annotations

import math
from typing import Any

import pytest

from smsweep.config_files.yaml_reader import other_reading, read_scalar


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1e-5", 1e-5),
        ("1e5", 1e5),
        ("3e6", 3e6),
        ("1.0e-5", 1e-5),
        (".5", 0.5),
        ("1.", 1.0),
        ("-2.5E+3", -2500.0),
        ("017", 17),
        ("-3", -3),
        ("+4", 4),
        ("0o17", 15),
        ("0x1f", 31),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("2020-01-01", "2020-01-01"),
        ("1e", "1e"),
        ("0b11", "0b11"),
        ("١", "١"),
    ],
)
def test_scalar_is_read_as_yaml_1_2(word: str, value: Any) -> None:
    assert (read_scalar(word), type(read_scalar(word))) == (value, type(value))


def test_nan_is_read() -> None:
    assert math.isnan(read_scalar(".nan"))


def test_number_with_thousands_of_digits_is_refused() -> None:
    with pytest.raises(ValueError, match="5000 digits is too long; shorten it"):
        read_scalar("9" * 5000)


@pytest.mark.parametrize(
    ("word", "reading"),
    [
        ("yes", ("the boolean", "true")),
        ("OFF", ("the boolean", "false")),
        ("017", ("the number", "15")),
        ("12:30", ("the number", "750")),
        ("1_000", ("the number", "1000")),
        ("0b11", ("the number", "3")),
        ("2020-01-01", ("the date", "2020-01-01")),
    ],
)
def test_scalars_that_wandb_reads_differently_are_reported(word: str, reading: tuple[str, str]) -> None:
    assert other_reading(word) == reading


@pytest.mark.parametrize(
    "word", ["1e-5", "3", "0.5", "true", "null", "text", "2020-13-45", ".nan", ".inf", "0x1F"]
)
def test_scalars_that_wandb_reads_equally_are_not_reported(word: str) -> None:
    assert other_reading(word) is None
