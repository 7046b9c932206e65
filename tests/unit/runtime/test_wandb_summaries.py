"""Tests of `define_metric(summary=)`. The oracle tests compare with W&B itself."""

from __future__ import annotations

from typing import Any

import pytest

from smsweep.runtime.script.define_metric import SummaryMetrics
from tests.unit.runtime.jobs import Job
from tests.unit.runtime.test_init_hook import records


def summary(name: str, kinds: str, *rows: tuple[int, Any]) -> dict[str, float]:
    metrics = SummaryMetrics()
    metrics.define(name, kinds)
    found: dict[str, float] = {}
    for step, value in rows:
        found.update(metrics.update({"loss": value}, step))
    return found


@pytest.mark.parametrize(("kind", "value"), [("min", 1), ("max", 4), ("mean", 7 / 3), ("first", 2), ("last", 1)])
def test_every_summary_kind_has_its_value(kind: str, value: float) -> None:
    assert summary("loss", kind, (0, 2), (1, 4), (2, 1)) == {f"loss.{kind}": value}


@pytest.mark.parametrize(("goal", "value"), [("maximize", 4), ("Max", 4), ("minimize", 1), (None, 1)])
def test_best_depends_on_the_goal(goal: str | None, value: float) -> None:
    metrics = SummaryMetrics()
    metrics.define("loss", "Best", goal)
    found: dict[str, float] = {}
    for step, logged in enumerate((2, 4, 1)):
        found.update(metrics.update({"loss": logged}, step))
    assert found == {"loss.best": value}


def test_later_value_of_a_row_replaces_the_earlier_one() -> None:
    found = summary("loss", "max,mean", (0, 2), (1, 9), (1, 4))
    assert found == {"loss.max": 4, "loss.mean": 3}


def test_star_selects_metrics_by_prefix() -> None:
    assert summary("lo*", "max", (0, 2)) == {"loss.max": 2}
    assert summary("val*", "max", (0, 2)) == {}


@pytest.mark.parametrize("value", [True, "text", None])
def test_non_numbers_are_ignored(value: Any) -> None:
    assert summary("loss", "max", (0, 2), (1, value)) == {"loss.max": 2}


def test_nan_stays() -> None:
    assert str(summary("loss", "max", (0, 2), (1, float("nan")), (2, 3))) == "{'loss.max': nan}"


@pytest.mark.parametrize("kinds", ["none", "copy"])
def test_unknown_summary_kinds_are_ignored(kinds: str) -> None:
    assert summary("loss", kinds, (0, 2)) == {}


def test_only_changed_summaries_are_returned() -> None:
    metrics = SummaryMetrics()
    metrics.define("loss", "min,max")
    assert metrics.update({"loss": 2}, 0) == {"loss.min": 2, "loss.max": 2}
    assert metrics.update({"loss": 3}, 1) == {"loss.max": 3}


def test_summary_of_a_defined_metric_reaches_the_sweep(job: Job) -> None:
    found = records(job, "run.define_metric('loss', summary='min'); run.log({'loss': 2}); run.log({'loss': 3})")
    assert found.count('"summary": {"loss.min": 2}}') == 1
