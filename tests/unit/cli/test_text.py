from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsweep.cli.text import cell, clean, clean_line, counted, counts, duration
from smsweep.exports.contents import csv_cell


def test_ordinary_text_stays_as_it_is() -> None:
    assert clean("val/acc [bold] é 日本") == "val/acc [bold] é 日本"


def test_ansi_sequences_are_dropped() -> None:
    assert clean("\x1b[31mred\x1b[0m \x1b]0;title\x07end") == "red end"


def test_control_characters_are_shown_as_escapes() -> None:
    assert clean("a\nb\x07\u202e") == "a\\nb\\x07\\u202e"


@given(st.text())
def test_clean_text_is_printable(text: str) -> None:
    assert all(c.isprintable() or c in "\xa0\u3000\u1680" or "\u2000" <= c <= "\u205f" for c in clean(text))


def test_log_line_keeps_only_colours_and_tabs() -> None:
    assert clean_line("\x1b[32mok\x1b[0m\tgo\x1b[2J\x07") == "\x1b[32mok\x1b[0m\tgo\\x07"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ("", "-"),
        (0.1 + 0.2, "0.3"),
        (1e-05, "1e-05"),
        (True, "True"),
        (7, "7"),
        (math.nan, "nan"),
        ([1, "a"], '[1, "a"]'),
        ("x\x1b[31m", "x"),
    ],
)
def test_cell_is_formatted(value: object, shown: str) -> None:
    assert cell(value) == shown


@pytest.mark.parametrize("text", ["=1+1", "+1", "-2", "@cmd", "\t=1", "\r=1"])
def test_csv_text_is_never_a_formula(text: str) -> None:
    assert str(csv_cell(text))[0] not in "=+-@\t\r"


def test_csv_numbers_stay_numbers() -> None:
    assert csv_cell(-0.5) == -0.5


def test_csv_lists_are_json() -> None:
    assert csv_cell([1, math.nan]) == '[1, "NaN"]'


def test_unit_of_one_is_singular() -> None:
    assert [counted(n, "instance hour") for n in (0, 1, 2)] == [
        "0 instance hours",
        "1 instance hour",
        "2 instance hours",
    ]


def test_counts_start_with_the_best_states() -> None:
    assert counts({"failed": 1, "finished": 3, "running": 0}) == "3 finished, 1 failed"


@pytest.mark.parametrize(
    ("ended_at", "shown"),
    [
        ("2026-01-01T00:00:04.250000+00:00", "4.2s"),
        ("2026-01-01T00:03:20+00:00", "3m20s"),
        ("2026-01-01T02:05:00+00:00", "2h05m"),
        (None, ""),
        ("2025-12-31T23:00:00+00:00", "0.0s"),
    ],
)
def test_duration_is_formatted(ended_at: str | None, shown: str) -> None:
    assert duration("2026-01-01T00:00:00+00:00", ended_at) == shown
