from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest

from smsweep.core.objective import front
from smsweep.core.sweep import Goal, Metric, SweepConfig
from smsweep.core.trial import History, MetricStats, Params, TrialState
from smsweep.errors import SpaceError
from smsweep.search.base import SearchStrategy
from smsweep.search.grid_and_random import RandomSearch
from smsweep.search.pareto_search import ParetoSearch
from smsweep.space.distributions import Categorical, IntUniform, Uniform
from smsweep.space.space import SearchSpace
from tests.unit.search.histories import add, remove, run

SPACE = SearchSpace({name: Uniform(min=0.0, max=1.0) for name in ("x", "y", "z")})
SMALL = SearchSpace({"a": IntUniform(min=1, max=4), "b": Categorical(values=("p", "q", "r"))})
METRICS = (Metric(name="cost"), Metric(name="quality", goal=Goal.MAXIMIZE))


def config(space: SearchSpace = SPACE) -> SweepConfig:
    return SweepConfig(method="custom", space=space, metrics=METRICS)


def values(params: Params) -> tuple[float, float]:
    """Return cost and quality. The front is quality = cost squared, whose middle no weighted sum finds."""
    off = (params["y"] - 0.5) ** 2 + (params["z"] - 0.5) ** 2
    return params["x"] + off, params["x"] ** 2 - off


def diverging(params: Params) -> tuple[float, float]:
    """Return the same values, with a huge cost in a fifth of the space."""
    cost, quality = values(params)
    return cost * (1e9 if params["y"] > 0.8 else 1.0), quality


def finish(
    history: History,
    number: int,
    *,
    state: TrialState = TrialState.FINISHED,
    values: Callable[[Params], tuple[float, float]] = values,
) -> None:
    trial = history.get(number)
    assert trial is not None
    found = values(trial.params) if "x" in trial.params else (trial.params["a"], 0.0)
    stats = {metric.name: MetricStats().add(value) for metric, value in zip(METRICS, found, strict=True)}
    history.update([dataclasses.replace(trial, state=state, metrics=stats)])


def searched(
    strategy: SearchStrategy, n: int, values: Callable[[Params], tuple[float, float]] = values
) -> History:
    history = History()
    for _ in range(n):
        (params,) = strategy.suggest(history, 1)
        finish(history, add(history, params), values=values)
    return history


def hypervolume(history: History) -> float:
    """Return the area between the front and a point that is bad in both metrics."""
    points = sorted((trial.metrics["cost"].min, trial.metrics["quality"].max) for trial in front(history, METRICS))
    area, floor = 0.0, -1.0
    for cost, quality in points:
        if cost < 2 and quality > floor:
            area += (2 - cost) * (quality - floor)
            floor = quality
    return area


def test_pareto_search_finds_a_better_front_than_random_search() -> None:
    by_chance = [hypervolume(searched(RandomSearch(SPACE, seed), 50)) for seed in range(4)]
    assert hypervolume(searched(ParetoSearch(SPACE, METRICS), 50)) > max(by_chance)


def test_diverged_trainings_do_not_hide_differences_of_the_others() -> None:
    by_chance = [hypervolume(searched(RandomSearch(SPACE, seed), 50)) for seed in range(4)]
    fronts = [hypervolume(searched(ParetoSearch(SPACE, METRICS, seed), 50, diverging)) for seed in range(3)]
    assert min(fronts) > max(by_chance)


def test_trials_at_once_equal_trials_one_by_one() -> None:
    history = searched(ParetoSearch(SPACE, METRICS), 12)
    at_once = ParetoSearch(SPACE, METRICS).suggest(history, 4)
    assert at_once == run(ParetoSearch(SPACE, METRICS), history, 4)
    assert len({str(params) for params in at_once}) == 4


def test_new_search_continues_like_the_old_one() -> None:
    old = ParetoSearch(SPACE, METRICS, 5)
    history = searched(old, 10)
    assert old.suggest(history, 2) == ParetoSearch(SPACE, METRICS, 5).suggest(history, 2)


def test_assignments_of_a_finite_space_are_not_repeated() -> None:
    history = searched(ParetoSearch(SMALL, METRICS), 12)
    assert len({str(trial.params) for trial in history}) == 12
    assert ParetoSearch(SMALL, METRICS).suggest(history, 1) == []


def test_failures_missing_values_and_removed_trials_are_accepted() -> None:
    history = History()
    states = [TrialState.FAILED, TrialState.KILLED, TrialState.STOPPED, TrialState.CRASHED]
    rng = random.Random(0)
    for number in range(20):
        add(history, SPACE.sample(rng), rng.choice([*states, TrialState.RUNNING, TrialState.FINISHED]))
        if number % 2:
            finish(history, number)
    remove(history, 19)
    assert len(ParetoSearch(SPACE, METRICS).suggest(history, 3)) == 3


def test_single_metric_is_refused() -> None:
    with pytest.raises(SpaceError, match="two metrics or more"):
        ParetoSearch(SPACE, METRICS[:1])
