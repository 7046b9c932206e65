"""Tests that the YAML reader keeps lines, and refuses unsupported YAML with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsweep.config_files.document import Problems
from smsweep.config_files.yaml_reader import MAX_BYTES, read_file, read_yaml
from smsweep.errors import ConfigError, NotFound


def read(text: str) -> Any:
    return read_yaml(text, "sweep.yaml").data


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Problems(read_yaml(text, "sweep.yaml")).raise_errors()
    return str(caught.value)


def test_values_are_plain_data() -> None:
    assert read("a: [1, 2.5, x]\nb: {c: null, d: 'on'}\ne: |\n  two\n  lines\n") == {
        "a": [1, 2.5, "x"],
        "b": {"c": None, "d": "on"},
        "e": "two\nlines\n",
    }


def test_every_key_and_item_has_a_line() -> None:
    lines = read_yaml("a:\n  b: 1\n  c:\n    - 1\n    - x: 2\n", "f").lines
    assert lines[("a",)] == 1
    assert lines[("a", "b")] == 2
    assert lines[("a", "c", 0)] == 4
    assert lines[("a", "c", 1, "x")] == 5


def test_missing_key_has_the_line_of_its_parent() -> None:
    document = read_yaml("a: 1\nmetric:\n  goal: x\n", "f")
    assert document.line(("metric", "name")) == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!!float 1e-5", 1e-5),
        ("!!float 5", 5.0),
        ("!!str 5", "5"),
        ("!!int '3'", 3),
        ("!!bool true", True),
    ],
)
def test_tags_of_plain_values_are_applied(text: str, value: Any) -> None:
    assert read(f"a: {text}") == {"a": value}


def test_surrogate_pair_becomes_one_character() -> None:
    assert read_yaml('{"\\ud83d\\ude00": "\\ud83d\\ude00"}', "f").data == {"😀": "😀"}


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ConfigError, match="f:1: a: an escape is half of a surrogate pair"):
        read_yaml('a: "\\ud83d"', "f")


def test_alias_has_the_value_of_its_anchor() -> None:
    assert read("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


def test_own_and_earlier_keys_override_merged_keys() -> None:
    text = "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\nall: {x: 0, <<: [*b, *m]}\n"
    assert read(text)["all"] == {"x": 0, "y": 2, "z": 4}


def test_windows_line_ends_and_byte_order_mark_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes("\ufeffmethod: grid\r\nname: ü\r\n".encode())
    assert read_file(path).data == {"method": "grid", "name": "ü"}


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_empty_text_is_none(text: str) -> None:
    assert read(text) is None


def test_text_that_wandb_reads_as_boolean_is_warned_about() -> None:
    document = read_yaml("a: 1\nb: [yes, x]\n", "sweep.yaml")
    assert document.data["b"] == ["yes", "x"]
    assert document.warnings == (
        (("b", 0), "the text 'yes' in smsweep, but the boolean true in W&B; write true, or quote it"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "sweep.yaml:3: a: occurs twice, first in line 1; keep one"),
        ("p:\n  a: 1\n  a: 1\n", "sweep.yaml:3: p.a: occurs twice, first in line 2; keep one"),
        (
            "a: 1\nb: !!python/object/apply:os.system [ls]\n",
            "sweep.yaml:2: b: the tag !!python/object/apply:os.system is not allowed; write a plain value",
        ),
        ("a: !mine 3\n", "sweep.yaml:1: a: the tag !mine is not allowed; write a plain value"),
        ("a: !!binary aGk=\n", "sweep.yaml:1: a: the tag !!binary is not allowed; write a plain value"),
        ("a: !!set {x}\n", "sweep.yaml:1: a: the tag !!set is not allowed; write a plain value"),
        ("a: !!int x\n", "sweep.yaml:1: a: 'x' is not of type int, as its tag says"),
        ("a: 1\n---\nb: 2\n", "sweep.yaml:2: a second document ('---'); keep one document in the file"),
        ("a:\n\tb: 1\n", "sweep.yaml:2: a tab cannot indent or start a value; use spaces"),
        ("a: b: c\n", "sweep.yaml:1: a ':' where no key can be; quote the text, or check the indentation"),
        ("a: 1\nb 2\nc: 3\n", "sweep.yaml:2: 'b 2' has no ':'; write KEY: VALUE"),
        ("a 1\n\nb: 2\n", "sweep.yaml:1: 'a 1' has no ':'; write KEY: VALUE"),
        ("a:\n  b\n    c: 2\n", "sweep.yaml:2: 'b' has no ':'; write KEY: VALUE"),
        ("a:\n  b: 1\n  c 2 # d\ne: 3\n", "sweep.yaml:3: 'c 2 # d' has no ':'; write KEY: VALUE"),
        (
            "a: b\n  c\n  d: e\n",
            "sweep.yaml:3: a ':' where no key can be; quote the text, or check the indentation",
        ),
        ("a: *x\n", "sweep.yaml:1: not valid YAML: found undefined alias 'x'"),
        ("a: [1\n", "sweep.yaml:2: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\nb: \x07\n", "sweep.yaml:2: character U+0007 is not allowed in YAML; remove it"),
        ('a: "\\UFFFFFFFF"\n', "sweep.yaml:1: an escape in double quotes is not a character; correct it"),
        ("a: 1\n2: 3\n", "sweep.yaml:2: 2: a key must be text; quote it"),
        ("a: 1\n[x]: 3\n", "sweep.yaml:2: a key cannot be a list or a mapping; use text"),
        ("a: &a [*a]\n", "sweep.yaml:1: a[0]: contains itself"),
        ("a: &a\n  <<: *a\n", "sweep.yaml:1: a: contains itself"),
        ("<<: 3\n", "sweep.yaml:1: << needs a mapping or a list of mappings"),
        ("[" * 70 + "]" * 70, "sweep.yaml:1: nested deeper than 64 levels; a config needs only a few"),
        (f"a: {'9' * 5000}\n", "sweep.yaml:1: a: a number of 5000 digits is too long; shorten it"),
    ],
)
def test_invalid_yaml_is_reported_in_one_line(text: str, message: str) -> None:
    assert problem(text) == message


def test_all_repeated_keys_are_reported() -> None:
    assert len(problem("a: 1\na: 2\nb: 1\nb: 2\n").splitlines()) == 2


def test_aliases_that_expand_to_millions_of_values_are_refused() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert problem("\n".join(rows)).endswith("more than 100,000 values, each alias counted in full")


def test_merges_that_expand_to_millions_of_keys_are_refused() -> None:
    rows = ["a0: &a0 {x: 1}"]
    rows += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 9)]
    assert problem("\n".join(rows)).endswith("more than 100,000 values, each alias counted in full")


def test_long_chain_of_merges_is_refused() -> None:
    rows = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: *a{n - 1}}}" for n in range(1, 2000))]
    assert problem("\n".join(rows)).endswith("nested deeper than 64 levels")


def test_too_large_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes(b"a: 1\n" + b"#" * MAX_BYTES)
    with pytest.raises(ConfigError, match="larger than 1,048,576 bytes"):
        read_file(path)


def test_non_utf_8_file_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"sweep.yaml:2: not UTF-8 \(byte 0xff\); save the file as UTF-8"):
        read_file(path)


def test_missing_file_raises_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        read_file(tmp_path / "none.yaml")


def test_folder_is_refused_as_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_file(tmp_path)


YAML_PIECES = st.sampled_from(
    [
        "a",
        "b: ",
        "- ",
        "\n",
        "  ",
        "\t",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&x ",
        "*x",
        "!!",
        "!!float ",
        "!!python/x ",
        "|\n",
        ">",
        "'",
        '"',
        "\\",
        "<<: ",
        "? ",
        "---\n",
        "...",
        "%YAML 1.1\n",
        "#",
        "1e5",
        "yes",
        "~",
        "\x00",
        "\ufeff",
        "\U0001f600",
        "\x85",
        "\u2028",
        "12:30:99",
        "0x",
        "=",
        "@",
        "`",
        "2020-01-01T25:00:00",
        "!<x> ",
        "&",
        "*",
        '"\\ud800"',
        '"\\x"',
    ]
)


def outcome(text: str) -> str:
    try:
        read(text)
    except ConfigError:
        return "refused"
    return "read"


@settings(deadline=None)
@given(st.lists(YAML_PIECES, max_size=25).map("".join))
def test_random_yaml_raises_only_config_errors(text: str) -> None:
    assert outcome(text) in ("read", "refused")


@pytest.mark.slow
@settings(deadline=None)
@given(st.text())
def test_random_text_raises_only_config_errors(text: str) -> None:
    assert outcome(text) in ("read", "refused")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_raise_only_config_errors(raw: bytes) -> None:
    assert outcome(raw.decode("latin-1")) in ("read", "refused")
