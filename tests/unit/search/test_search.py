from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from smsweep.core.sweep import Goal, Metric, SweepConfig
from smsweep.core.trial import History, MetricStats, Params, Trial, TrialState
from smsweep.errors import SpaceError
from smsweep.search.bayes.search import BayesSearch
from smsweep.search.registry import make_strategy
from smsweep.space.distributions import (
    DISTRIBUTIONS,
    Categorical,
    Constant,
    Distribution,
    IntUniform,
    QNormal,
    Uniform,
)
from smsweep.space.space import SearchSpace
from smsweep.space.structure import Allowed, Condition
from tests.unit.search.histories import add, run

SPACE = SearchSpace(
    {
        "lr": DISTRIBUTIONS["log_uniform_values"](min=1e-5, max=1.0),  # type: ignore[call-arg]
        "layers": IntUniform(min=1, max=4),
        "activation": Categorical(values=("relu", "tanh")),
        "model": SearchSpace({"dropout": Uniform(min=0.0, max=0.9)}),
        "seed": Constant(value=7),
    }
)
SMALL = SearchSpace({"a": IntUniform(min=1, max=4), "b": Categorical(values=(True, False, None))})
ARGUMENTS: dict[str, dict[str, Any]] = {
    "constant": {"value": 1},
    "categorical": {"values": (1, "a", None)},
    "categorical_w_probabilities": {"values": (1, 2, 3), "probabilities": (0.2, 0.5, 0.3)},
    "int_uniform": {"min": -3, "max": 40},
    "uniform": {"min": -1.0, "max": 1.0},
    "q_uniform": {"min": 5, "max": 94, "q": 10},
    "log_uniform": {"min": -3.0, "max": 1.0},
    "q_log_uniform": {"min": 0.0, "max": 5.0, "q": 1},
    "inv_log_uniform": {"min": -3.0, "max": 1.0},
    "log_uniform_values": {"min": 0.1, "max": 10.0},
    "inv_log_uniform_values": {"min": 0.1, "max": 10.0},
    "q_log_uniform_values": {"min": 1, "max": 100, "q": 4},
}


def config(space: SearchSpace = SPACE, goal: Goal = Goal.MINIMIZE) -> SweepConfig:
    return SweepConfig(method="bayes", space=space, metric=Metric(name="loss", goal=goal))


def loss(params: Params) -> float:
    return float(
        (math.log10(params["lr"]) + 2.0) ** 2
        + abs(params["layers"] - 3)
        + (params["activation"] == "tanh")
        + params["model"]["dropout"]
    )


def finish(history: History, number: int, value: float) -> None:
    trial = history.get(number)
    assert trial is not None
    stats = MetricStats().add(value)
    history.update(
        [dataclasses.replace(trial, state=TrialState.FINISHED, metrics={"loss": stats}, curve=(value,))]
    )


def searched(n: int, goal: Goal = Goal.MINIMIZE, seed: int = 0) -> History:
    """Return a history of n trials, each finished before the next is proposed."""
    history, strategy = History(), make_strategy(config(goal=goal), seed)
    for _ in range(n):
        (params,) = strategy.suggest(history, 1)
        finish(history, add(history, params), goal.sign * loss(params))
    return history


def test_bayes_finds_a_better_optimum_than_random_search() -> None:
    assert min(loss(trial.params) for trial in searched(40)) < 0.15


def test_maximising_equals_minimising_the_negated_metric() -> None:
    down, up = searched(15), searched(15, goal=Goal.MAXIMIZE)
    assert [trial.params for trial in down] == [trial.params for trial in up]


def test_same_history_and_seed_give_same_params() -> None:
    history = searched(15)
    assert make_strategy(config(), 0).suggest(history, 3) == make_strategy(config(), 0).suggest(history, 3)


def test_other_seed_gives_other_params() -> None:
    assert [t.params for t in searched(3)] != [t.params for t in searched(3, seed=1)]


@pytest.mark.parametrize("seed", [452, 609])
def test_random_values_over_a_hundred_decades_are_accepted(seed: int) -> None:
    space, rng = SearchSpace({"x": Uniform(min=0.0, max=1.0)}), np.random.default_rng(seed)
    history = History()
    for _ in range(48):
        finish(history, add(history, {"x": float(rng.random())}), math.exp(rng.normal(0.0, 50.0)))
    assert len(make_strategy(config(space), 0).suggest(history, 6)) == 6


@pytest.mark.parametrize("n_known", [0, 15])
def test_trials_at_once_equal_trials_one_by_one(n_known: int) -> None:
    history = searched(n_known)
    at_once = make_strategy(config(), 0).suggest(history, 5)
    assert run(make_strategy(config(), 0), history, 5) == at_once


def test_finite_space_is_used_up_without_repeats() -> None:
    history = History()
    proposed = run(make_strategy(config(SMALL), 0), history, 12)
    assert len({(params["a"], params["b"]) for params in proposed}) == 12
    assert make_strategy(config(SMALL), 0).suggest(history, 1) == []


def test_likely_multiples_of_a_normal_distribution_are_not_repeated() -> None:
    space = SearchSpace({"n": QNormal(mu=8, sigma=2, q=1)})
    proposed = run(make_strategy(config(space), 0), History(), 8)
    assert len({params["n"] for params in proposed}) == 8
    assert make_strategy(config(space), 0).suggest(History(), 8) == proposed


def test_request_for_too_many_trials_gives_all_assignments() -> None:
    assert len(make_strategy(config(SMALL), 0).suggest(History(), 100)) == 12


def test_space_of_constants_gives_one_trial() -> None:
    only = SearchSpace({"a": Constant(value=[1])})
    assert make_strategy(config(only), 0).suggest(History(), 3) == [{"a": [1]}]


@pytest.mark.slow
def test_hundred_pending_trials_differ() -> None:
    history = searched(15)
    proposed = make_strategy(config(), 0).suggest(history, 100)
    assert len({repr(params) for params in proposed}) == 100


def test_missing_metric_is_refused() -> None:
    with pytest.raises(SpaceError, match="add metric"):
        make_strategy(SweepConfig(method="bayes", space=SPACE), 0)


def test_crashed_trials_do_not_end_the_start() -> None:
    history = History()
    run(make_strategy(config(), 0), history, 20)
    history.update([dataclasses.replace(trial, state=TrialState.CRASHED) for trial in history])
    assert len(make_strategy(config(), 0).suggest(history, 1)) == 1


@pytest.mark.slow
def test_search_starts_after_any_number_of_crashes() -> None:
    history, strategy = History(), make_strategy(config(), 0)
    run(strategy, history, 100)
    history.update([dataclasses.replace(trial, state=TrialState.CRASHED) for trial in history])
    for _ in range(8):
        (params,) = strategy.suggest(history, 1)
        finish(history, add(history, params), loss(params))
    assert history.counts[TrialState.FINISHED] == 8


@pytest.mark.parametrize("kind", sorted(DISTRIBUTIONS))
def test_bayes_searches_every_distribution(kind: str) -> None:
    leaf: Distribution = DISTRIBUTIONS[kind](**ARGUMENTS.get(kind, {}))
    space = SearchSpace({"x": leaf, "other": Uniform(min=0.0, max=1.0)})
    history, strategy = History(), make_strategy(config(space), 0)
    for value in (3.0, 1.0, 2.0, 5.0, 4.0, 7.0, 6.0, 9.0, 8.0, 0.0):
        (params,) = strategy.suggest(history, 1)
        finish(history, add(history, params), value)
        assert 0.0 <= leaf.cdf(params["x"]) <= 1.0


def failing(n: int, state: TrialState = TrialState.FAILED) -> list[float]:
    """Return the places in the range of n proposals of a search whose trials have no value."""
    strategy, history, places = (
        make_strategy(config(SearchSpace({"x": Uniform(min=0.0, max=1.0)})), 0),
        History(),
        [],
    )
    for _ in range(n):
        (params,) = strategy.suggest(history, 1)
        add(history, params, state)
        places.append(params["x"])
    return places


def test_later_start_points_cover_the_whole_ranges_if_all_trials_fail() -> None:
    places = failing(30)
    assert all(0.1 <= place <= 0.9 for place in places[:6])
    assert any(not 0.1 <= place <= 0.9 for place in places[6:])


def test_pending_trials_do_not_widen_the_start() -> None:
    assert all(0.1 <= place <= 0.9 for place in failing(30, TrialState.PENDING))


NESTED = SearchSpace(
    {
        "model": Categorical(values=("a", "b", "c")),
        "rate": Uniform(min=0.0, max=1.0),
        "momentum": Uniform(min=0.0, max=1.0),
    },
    (
        Condition(parameter="rate", when={"model": Allowed(values=("b", "c"))}),
        Condition(parameter="momentum", when={"rate": Allowed(min=0.5)}),
    ),
)


def test_bayes_finds_the_best_branch_of_nested_conditions() -> None:
    strategy, history = BayesSearch(NESTED, Metric(name="loss")), History()
    best = math.inf
    for number in range(35):
        (params,) = strategy.suggest(history, 1)
        assert ("rate" in params) == (params["model"] != "a")
        assert ("momentum" in params) == (params.get("rate", 0.0) >= 0.5)
        value = 1.0 if params["model"] == "a" else 0.5 + abs(params["rate"] - 0.8)
        if "momentum" in params:
            value += abs(params["momentum"] - 0.3) - 0.5 * (params["model"] == "c")
        best = min(best, value)
        stats = {"loss": MetricStats().add(value)}
        history.update([Trial(number=number, params=params, state=TrialState.FINISHED, metrics=stats)])
    assert best < 0.06


def test_bayes_proposes_each_assignment_of_a_conditional_space_once() -> None:
    when = Condition(parameter="b", when={"a": Allowed(min=3)})
    strategy = BayesSearch(SearchSpace(SMALL.parameters, (when,)), Metric(name="loss"))
    proposed = run(strategy, History(), 20)
    assert sorted(map(str, proposed)) == sorted(
        map(str, [{"a": 1}, {"a": 2}, *({"a": a, "b": b} for a in (3, 4) for b in (True, False, None))])
    )


def test_branch_without_other_parameters_is_proposed_once() -> None:
    space = SearchSpace(
        {"model": Categorical(values=("tree", "net")), "rate": Uniform(min=0.0, max=1.0)},
        (Condition(parameter="rate", when={"model": Allowed(values=("net",))}),),
    )
    proposed = run(BayesSearch(space, Metric(name="loss")), History(), 20)
    assert sum("rate" not in params for params in proposed) == 1
