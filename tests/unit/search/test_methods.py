from __future__ import annotations

from typing import Any

import pytest

from smsweep.core.job import JobTemplate
from smsweep.core.sweep import Metric, SweepConfig
from smsweep.errors import ConfigError
from smsweep.search.grid_and_random import GridSearch
from smsweep.search.registry import METHODS, engine_of, expected_trial_count, make_strategy
from smsweep.space.distributions import Categorical, Constant, IntUniform
from smsweep.space.space import SearchSpace

SPACE = SearchSpace(
    {
        "a": Categorical(values=(1, 2, 3)),
        "b": SearchSpace({"c": IntUniform(min=1, max=3), "d": Constant(value=0)}),
    }
)
TWO = (Metric(name="loss"), Metric(name="size"))


def test_methods_are_those_of_wandb_and_the_engines() -> None:
    assert list(METHODS.builtin) == ["grid", "random", "bayes", "pareto", "optuna", "ax"]


@pytest.mark.parametrize(
    ("method", "more", "engine"),
    [
        ("grid", {}, "grid"),
        ("bayes", {"scheduler": {"engine": "wandb"}}, "bayes"),
        ("custom", {"metrics": TWO}, "pareto"),
        ("custom", {"scheduler": {"engine": "optuna"}}, "optuna"),
        ("custom", {"scheduler": {"engine": "optuna"}, "metrics": TWO}, "optuna"),
        ("custom", {"scheduler": {"engine": "ax"}}, "ax"),
        ("custom", {"scheduler": {"engine": "ax", "source": "s.py"}}, "ax"),
    ],
)
def test_engine_depends_on_method_scheduler_and_metrics(method: str, more: dict[str, Any], engine: str) -> None:
    assert engine_of(SweepConfig(method=method, space=SPACE, **more)) == engine


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (None, "method: custom is valid, but smsweep cannot run it"),
        ({"engine": "ax", "source": "s.py", "optimizer": "f"}, "scheduler.optimizer: smsweep runs no program"),
    ],
)
def test_unsupported_engine_is_refused(scheduler: dict[str, Any] | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        engine_of(SweepConfig(method="custom", space=SPACE, scheduler=scheduler))


def test_make_strategy_returns_the_class_of_the_method() -> None:
    assert isinstance(make_strategy(SweepConfig(method="grid", space=SPACE), 0), GridSearch)


@pytest.mark.parametrize(
    ("method", "run_cap", "count"),
    [
        ("grid", None, 9),
        ("grid", 4, 4),
        ("grid", 40, 9),
        ("random", None, None),
        ("random", 4, 4),
        ("bayes", None, None),
        ("bayes", 40, 40),
    ],
)
def test_expected_count_is_the_grid_size_or_the_cap(method: str, run_cap: int | None, count: int | None) -> None:
    assert expected_trial_count(SweepConfig(method=method, space=SPACE, run_cap=run_cap), JobTemplate()) == count
