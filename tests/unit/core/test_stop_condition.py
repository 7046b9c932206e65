from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsweep.core.condition import parse_condition
from smsweep.core.trial import MetricStats, Scalar, Trial
from smsweep.errors import ConfigError

NAN, INF = math.nan, math.inf


def holds(text: str, *values: Scalar, metric: str = "loss") -> bool:
    stats = MetricStats()
    for value in values:
        stats = stats.add(value)
    return parse_condition(text).holds(Trial(number=0, params={}, metrics={metric: stats}))


@pytest.mark.parametrize(
    ("text", "true_of", "false_of"),
    [
        ("loss is nan", [NAN], [0.0, INF]),
        ("loss is inf", [INF, -INF], [NAN, 1e308]),
        ("loss > 10", [10.5, 11, INF], [10, -11, NAN]),
        ("loss >= 10", [10], [9.99]),
        ("loss < 1e-3", [0, -INF], [0.001, NAN]),
        ("loss <= -0.5", [-0.5], [-0.4]),
        ("  loss>10  ", [11], [9]),
    ],
)
def test_condition_uses_newest_value(text: str, true_of: list[float], false_of: list[float]) -> None:
    assert [holds(text, 10, value) for value in true_of] == [True] * len(true_of)
    assert [holds(text, NAN, value) for value in false_of] == [False] * len(false_of)


def test_after_counts_finite_values() -> None:
    assert not holds("loss > 10 after 3", 11, NAN, 12)
    assert holds("loss > 10 after 3", 11, NAN, 12, 13)
    assert holds("loss is nan after 1", 1, NAN)


@pytest.mark.parametrize("value", [True, "20", None])
def test_value_that_is_not_a_number_meets_no_condition(value: Scalar) -> None:
    assert not holds("loss > 0", value)


def test_unreported_metric_meets_no_condition() -> None:
    assert not holds("loss < 1")
    assert not holds("other < 1", 0)


@pytest.mark.parametrize("name", ["val.loss", "val/loss", "Best loss (%)", "is", "loss is", "after"])
def test_metric_name_can_contain(name: str) -> None:
    assert parse_condition(f"{name} is nan after 2").metric == name
    assert parse_condition(f"{name}<2").metric == name


@pytest.mark.parametrize(
    "text",
    [
        *("", "loss", "loss is", "loss is bad", "is nan", "> 3", "loss >", "loss == 3", "loss > 3 after"),
        *("loss > 3 after -1", "loss > 3 after 1.5", "loss > nan", "loss > 1e999", "loss > ten", "1 < loss < 2"),
        *("loss is nan or loss > 9", "loss is inf and acc<1", "loss after 3 > 9", "loss => 3"),
        *("loss > __import__('os')", "loss > 3; import os", "x" * 501 + " is nan"),
    ],
)
def test_other_text_raises_config_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not a valid condition; write METRIC is nan|compares with"):
        parse_condition(text)


@given(st.text())
def test_any_text_is_parsed_or_raises_config_error(text: str) -> None:
    try:
        parse_condition(text)
    except ConfigError:
        return
