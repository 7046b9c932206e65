"""Points in log lines, with other text around them."""

from __future__ import annotations

import math
from datetime import datetime, timezone

import pytest

from smsweep.engine.metric_parser import MetricParser, ParsedLines
from smsweep.errors import ConfigError
from smsweep.runtime.script.records import METRICS, SUMMARY, records

AT = datetime(2025, 1, 1, tzinfo=timezone.utc)
LOSS = ("loss", r"loss=([0-9.eE+-]+|nan|inf)")


def record(step: int = 3, **values: float | str | None) -> str:
    (line,) = records(METRICS, values, step=step, time=1735689600.5)
    return line


def read(*lines: str, definitions: tuple[tuple[str, str], ...] = (LOSS,)) -> ParsedLines:
    return MetricParser(definitions).read(lines, AT)


def values(*lines: str, definitions: tuple[tuple[str, str], ...] = (LOSS,)) -> list[tuple[str, object]]:
    return [(point.name, point.value) for point in read(*lines, definitions=definitions).points]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("half a line", ""),
        (" 50%|#####     | 5/10\r", "\r"),
        ("\x1b[32mgreen\x1b[0m", "\x1b[K"),
        ("", " and more text"),
        ("@smsweep ", ""),
        ('@smsweep {"step": 3, "metr', ""),
    ],
)
def test_record_is_parsed_anywhere_in_a_line(before: str, after: str) -> None:
    assert values(before + record(acc=0.5) + after) == [("acc", 0.5)]


def test_record_has_its_step_and_time() -> None:
    (point,) = read(record(step=7, acc=1.0)).points
    assert (point.step, point.time) == (7, datetime(2025, 1, 1, 0, 0, 0, 500_000, tzinfo=timezone.utc))


def test_several_records_in_one_line_all_count_in_order() -> None:
    assert values(record(a=1) + record(b=2)) == [("a", 1), ("b", 2)]


@pytest.mark.parametrize("value", [0.1, -3, 1e-300, True, None, "text", "Jäger 🚀", math.inf])
def test_value_is_parsed_unchanged(value: float | str | None) -> None:
    assert values(record(x=value)) == [("x", value)]


def test_nan_is_parsed_as_nan() -> None:
    ((_, value),) = values(record(x=math.nan))
    assert isinstance(value, float)
    assert math.isnan(value)


def test_later_summary_values_replace_earlier_ones() -> None:
    lines = [line for best in (1, 2) for line in records(SUMMARY, {"best": best, f"only{best}": True}, time=0)]
    reading = read(*lines)
    assert (reading.points, reading.summary) == ([], {"best": 2, "only1": True, "only2": True})


@pytest.mark.parametrize(
    "line",
    [
        "@smsweep ",
        "@smsweep {",
        "@smsweep null",
        "@smsweep 3",
        "@smsweep []",
        '@smsweep {"metrics": 3}',
        '@smsweep {"metrics": {"x": [1]}}',
        '@smsweep {"metrics": {"x": {"y": 1}}}',
        "@smsweep " + "[" * 100_000,
        "@smsweep " + '{"metrics": ' * 1_000,
        '@smsweep {"metrics": {"x": ' + "9" * 5_000 + "}}",
        '@smsweep {"metrics": {"x": "' + "y" * 5_000 + '"}}',
    ],
)
def test_damaged_record_is_ignored(line: str) -> None:
    assert read(line) == ParsedLines(points=[], summary={})


def test_record_with_invalid_step_and_time_counts() -> None:
    (point,) = read('@smsweep {"step": "x", "time": 1e300, "metrics": {"x": 1}}').points
    assert (point.value, point.step, point.time) == (1, None, AT)


def test_unstorable_values_are_replaced() -> None:
    line = '@smsweep {"metrics": {"a\\u0000": "b\\ud800", "big": 99999999999999999999}}'
    assert values(line) == [("a\ufffd", "b\ufffd"), ("big", 1e20)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("loss=0.5", [0.5]),
        ("loss=0.5 then loss=1e-3", [0.5, 0.001]),
        ("1%\rloss=3\r2%\rloss=2", [3.0, 2.0]),
        ("\x1b[1mlo\x1b[0mss=4", [4.0]),
        ("loss=inf", [math.inf]),
        ("loss=--", []),
        ("loss=1_0", [1.0]),
        ("nothing", []),
        ("", []),
        ("loss=1" + "x" * 1_000_000, [1.0]),
    ],
)
def test_every_match_of_definition_is_a_point(line: str, expected: list[float]) -> None:
    assert [value for _, value in values(line)] == expected


def test_every_progress_bar_update_is_parsed() -> None:
    bar = "".join(f"\r{'#' * 80}| loss={number}" for number in range(2000))
    assert [value for _, value in values(bar)] == list(range(2000))


def test_line_of_a_megabyte_is_parsed_to_its_end() -> None:
    bar = "".join(f"\r{'#' * 80}| loss={number}" for number in range(10_000))
    assert len(values(bar)) == 10_000


def test_numbers_next_to_letters_of_any_language_match() -> None:
    definitions = (("x", r"\bVerlust größe=(\d+)"), ("y", r"точность (\S+)"))
    assert values("é Verlust größe=٣ точность 0.5", definitions=definitions) == [("x", 3.0), ("y", 0.5)]


def test_lone_surrogate_does_not_hide_metrics() -> None:
    assert values("\ud800 loss=2") == [("loss", 2.0)]


def test_markup_in_a_metric_name_does_not_hide_it() -> None:
    definitions = (("loss", "loss=([0-9])"), ("any", "([0-9])"))
    assert values("\x1b[1mlo\x1b[0mss=4", definitions=definitions) == [("loss", 4.0), ("any", 4.0)]


def test_definitions_match_text_outside_of_records() -> None:
    everything = (("any", r'(?:loss|"x": )=?([0-9.]+)'),)
    assert values("loss=1 " + record(x=2) + " loss=3", definitions=everything) == [
        ("x", 2),
        ("any", 1.0),
        ("any", 3.0),
    ]


def test_group_without_a_match_is_ignored() -> None:
    assert values("loss=none", definitions=(("loss", r"loss=(?:none|([0-9]+))"),)) == []


@pytest.mark.parametrize(
    ("regex", "words"), [("(", "is not a valid regular expression"), ("loss=[0-9]+", "has no group")]
)
def test_invalid_definition_raises_config_error(regex: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MetricParser([("loss", regex)])
