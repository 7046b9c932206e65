"""Tests that a dict from Python becomes the same plain data as a file, and that its YAML reads back equal."""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from smsweep.config_files.from_python import from_mapping, to_yaml
from smsweep.config_files.yaml_reader import read_yaml
from smsweep.errors import ConfigError


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("given_value", "plain"),
    [
        (np.float64(0.1), 0.1),
        (np.int32(3), 3),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array([1, 2]), [1, 2]),
        ((1, (2, 3)), [1, [2, 3]]),
        (PurePosixPath("a/b"), "a/b"),
        (Colour.RED, "red"),
        (OrderedDict(b=1), {"b": 1}),
        (MappingProxyType({"x": 1}), {"x": 1}),
    ],
)
def test_values_become_plain_data(given_value: Any, plain: Any) -> None:
    value = from_mapping({"k": given_value}).data["k"]
    assert (value, type(value)) == (plain, type(plain))


@pytest.mark.parametrize(
    ("value", "is_warned"),
    [("1e-5", True), ("-2E3", True), ("1.0e-5", False), ("5", False), ("adam", False), (1e-5, False)],
)
def test_number_that_pyyaml_reads_as_text_is_warned_about(value: object, is_warned: bool) -> None:
    document = from_mapping({"name": value, "parameters": {"lr": {"values": [value, value]}}})
    expected = "contains {!r} as text, as PyYAML reads it; write 1.0e-5, or pass the file's path"
    place = ("parameters", "lr", "values")
    assert document.warnings == (((place, expected.format(value)),) if is_warned else ())


def test_caller_dict_is_copied() -> None:
    mine = {"a": {"b": [1]}}
    from_mapping(mine).data["a"]["b"].append(2)
    assert mine == {"a": {"b": [1]}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": {1, 2}}, "a: type set is not supported; use text, numbers, booleans, lists and dicts"),
        ({"a": [object()]}, "a[0]: type object is not supported; use text, numbers, booleans, lists and dicts"),
        ({"a": {1: 2}}, "a: a key must be text, got 1"),
        ({"a": "\ud800"}, "a: half a surrogate pair is not text; decode it first"),
    ],
)
def test_value_without_yaml_form_is_refused_with_its_key(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(value)
    assert str(caught.value) == message


def test_recursive_dict_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["a"] = loop
    with pytest.raises(ConfigError, match="nested deeper than 64 levels"):
        from_mapping(loop)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.one_of(st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False))
TRICKY = st.sampled_from(
    [
        "1e-5",
        "1e5",
        "yes",
        "017",
        "0o17",
        "12:30",
        "2020-01-01",
        ".inf",
        ".nan",
        "~",
        "null",
        "=",
        "<<",
        "- x",
        "a: b",
        "#x",
        " x",
        "x ",
        "'",
        '"',
        "\n",
        "a\nb",
        "\x85",
        "\u2028",
        "!x",
        "&x",
        "*x",
        "%x",
        "@",
        "`",
        "1_000",
        "0x1f",
        "{",
        "[",
    ]
)
DATA = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXT, TRICKY),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT | TRICKY, inner, max_size=4)),
    max_leaves=15,
)


@settings(deadline=None)
@given(st.dictionaries(TEXT | TRICKY, DATA, max_size=4))
def test_written_data_reads_back_equal(data: dict[str, Any]) -> None:
    assert repr(read_yaml(to_yaml(data), "f").data) == repr(data)


@settings(deadline=None)
@given(st.one_of(TRICKY, TEXT))
def test_written_text_is_text_for_wandb(text: str) -> None:
    assert yaml.safe_load(to_yaml({"k": text})) == {"k": text}


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_written_floats_are_floats_for_wandb(number: float) -> None:
    read = yaml.safe_load(to_yaml({"k": number}))["k"]
    assert isinstance(read, float)
    assert math.copysign(1, read) == math.copysign(1, number)
    assert read == number
