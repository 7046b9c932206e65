"""A bayes search that saves costs."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import pytest

from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.budget import SearchCost, search_cost_of
from smsweep.core.job import JobTemplate, SearchSettings
from smsweep.core.trial import History, MetricStats, Trial, TrialState
from smsweep.errors import ConfigError
from smsweep.search.registry import METHODS, build_strategy, make_strategy

CONFIG = parse_sweep(
    {
        "method": "bayes",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {
            "x": {"min": 0.0, "max": 1.0},
            "size": {"distribution": "log_uniform_values", "min": 1.0, "max": 100.0},
        },
    }
).config


def searched(cost: SearchCost | None, n: int, seed: int = 0) -> list[Trial]:
    """Return n trials. The loss does not depend on the size, and the cost is the size."""
    strategy, history = build_strategy(METHODS["bayes"], CONFIG, seed, cost), History()
    for number in range(n):
        (params,) = strategy.suggest(history, 1)
        metrics = {"loss": MetricStats().add((params["x"] - 0.3) ** 2)}
        usage = {"instance_s": params["size"], "usd": params["size"] / 100}
        state = TrialState.FINISHED
        history.update([Trial(number=number, params=params, state=state, metrics=metrics, usage=usage)])
    return list(history)


def spent(trials: list[Trial]) -> float:
    return fmean(trial.params["size"] for trial in trials)


@pytest.mark.parametrize("unit", ["instance_s", "usd"])
def test_search_saves_costs_that_do_not_improve_the_objective(unit: str) -> None:
    plain, saving = searched(None, 25), searched(SearchCost(unit=unit), 25)
    assert spent(saving[8:]) < spent(plain[8:]) / 3
    assert min(abs(trial.params["x"] - 0.3) for trial in saving) < 0.05


@pytest.mark.parametrize(
    "cost", [SearchCost(unit="instance_s", n_trials=6), SearchCost(unit="instance_s", horizon=1.0)]
)
def test_cost_has_no_weight_at_the_end_of_the_budget(cost: SearchCost) -> None:
    assert [trial.params for trial in searched(cost, 12)] == [trial.params for trial in searched(None, 12)]


def test_search_without_known_costs_is_the_plain_search() -> None:
    unknown = SearchCost(unit="billable_usd")
    assert [trial.params for trial in searched(unknown, 12)] == [trial.params for trial in searched(None, 12)]


def test_same_history_gives_the_same_params_after_a_restart() -> None:
    cost = SearchCost(unit="instance_s", n_trials=40)
    trials = searched(cost, 20)
    fresh = build_strategy(METHODS["bayes"], CONFIG, 0, cost).suggest(History(trials[:19]), 1)
    assert fresh == [trials[19].params]


@pytest.mark.parametrize(
    ("settings", "budget", "cost"),
    [
        (None, {"usd": 9.0}, None),
        ("time", {"hours": 2.0}, SearchCost(unit="instance_s", horizon=7200.0, n_trials=50)),
        ("time", {"usd": 9.0}, SearchCost(unit="instance_s", n_trials=50)),
        ("dollars", {"usd": 9.0, "trials": 20}, SearchCost(unit="usd", horizon=9.0, n_trials=20)),
    ],
)
def test_horizon_is_the_budget_of_the_same_unit(
    settings: Any, budget: dict[str, float], cost: SearchCost | None
) -> None:
    assert search_cost_of(JobTemplate(search=SearchSettings(cost=settings), budget=budget), 50) == cost


@pytest.mark.parametrize("method", ["grid", "random"])
def test_method_that_does_not_know_costs_is_refused(method: str) -> None:
    config = parse_sweep({"method": method, "parameters": {"x": {"values": [1, 2]}}}).config
    with pytest.raises(ConfigError, match="does not choose params by their cost; use method bayes"):
        make_strategy(config, 0, JobTemplate(search=SearchSettings(cost="dollars")))
