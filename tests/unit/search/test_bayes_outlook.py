"""The outlook of a Bayesian search."""

from __future__ import annotations

import random
from collections.abc import Callable

from smsweep.core.sweep import Metric, SweepConfig
from smsweep.core.trial import History, MetricStats, Params, Trial, TrialState
from smsweep.search.base import outlook
from smsweep.search.registry import make_strategy
from smsweep.space.distributions import Categorical, Uniform
from smsweep.space.space import SearchSpace

LINE = SweepConfig(method="bayes", space=SearchSpace({"x": Uniform(min=0.0, max=1.0)}), metric=Metric(name="loss"))


def searched(n: int, objective: Callable[[Params], float]) -> History:
    history, search = History(), make_strategy(LINE, 3)
    for number in range(n):
        (params,) = search.suggest(history, 1)
        stats = {"loss": MetricStats().add(objective(params))}
        history.update([Trial(number=number, params=params, state=TrialState.FINISHED, metrics=stats)])
    return history


def valley(params: Params) -> float:
    return float((params["x"] - 0.3) ** 2)


def test_outlook_reports_a_search_that_found_the_minimum() -> None:
    history = searched(25, valley)
    hint = outlook(make_strategy(LINE, 3), history)
    assert hint.startswith("after 25 trials the model expects less than 0.2% of the gain so far from one more")
    assert make_strategy(LINE, 3).suggest(history, 1)  # the outlook does not stop the search


def test_outlook_is_empty_after_few_trials() -> None:
    assert outlook(make_strategy(LINE, 3), searched(8, valley)) == ""


def test_outlook_is_empty_for_pure_noise() -> None:
    chance = random.Random(1)
    assert outlook(make_strategy(LINE, 3), searched(25, lambda _: chance.gauss(0.0, 1.0))) == ""


def test_equal_values_are_accepted() -> None:
    assert outlook(make_strategy(LINE, 3), searched(25, lambda _: 1.0)) == ""


def test_outlook_reports_a_used_up_space() -> None:
    config = SweepConfig(
        method="bayes", space=SearchSpace({"x": Categorical(values=("a", "b"))}), metric=Metric(name="loss")
    )
    history = History(Trial(number=i, params={"x": x}) for i, x in enumerate("ab"))
    assert outlook(make_strategy(config, 0), history) == "all 2 assignments of the space have been tried"
