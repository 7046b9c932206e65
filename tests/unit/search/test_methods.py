from __future__ import annotations

from typing import Any

import pytest

from smsweep.core.sweep import Metric, SweepConfig
from smsweep.errors import ConfigError
from smsweep.search.grid_search import GridSearch
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


def test_the_methods_are_those_of_wandb_and_what_may_stand_behind_custom() -> None:
    assert list(METHODS.builtin) == ["grid", "random", "bayes", "pareto", "optuna"]


@pytest.mark.parametrize(
    ("method", "more", "engine"),
    [
        ("grid", {}, "grid"),
        ("bayes", {"scheduler": {"engine": "wandb"}}, "bayes"),
        ("custom", {"metrics": TWO}, "pareto"),
        ("custom", {"scheduler": {"engine": "optuna"}}, "optuna"),
        ("custom", {"scheduler": {"engine": "optuna"}, "metrics": TWO}, "optuna"),
    ],
)
def test_an_engine_follows_from_method_scheduler_and_metrics(
    method: str, more: dict[str, Any], engine: str
) -> None:
    assert engine_of(SweepConfig(method=method, space=SPACE, **more)) == engine


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (None, "method: custom is valid, but smsweep cannot run it"),
        ({"engine": "ax"}, "scheduler.engine: ax is valid, but"),
        ({"engine": "ax", "source": "s.py"}, "scheduler.engine: ax is valid, but"),
    ],
)
def test_what_nothing_here_can_do_is_told(scheduler: dict[str, Any] | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        engine_of(SweepConfig(method="custom", space=SPACE, scheduler=scheduler))


def test_a_method_is_built_from_a_config_and_a_seed() -> None:
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
def test_the_expected_count_is_the_grid_or_the_cap(method: str, run_cap: int | None, count: int | None) -> None:
    assert expected_trial_count(SweepConfig(method=method, space=SPACE, run_cap=run_cap)) == count
