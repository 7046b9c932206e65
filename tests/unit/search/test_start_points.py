from __future__ import annotations

from typing import Any

import pytest

from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.job import JobTemplate, SearchSettings
from smsweep.core.trial import History, MetricStats, Params, Trial, TrialState
from smsweep.search.base import SearchStrategy
from smsweep.search.registry import make_strategy
from smsweep.space.belief import Belief

PARAMETERS = {
    "layers": {"values": [2, 4, 8]},
    "width": {"values": [8, 16]},
    "optimizer": {"parameters": {"name": {"values": ["adam", "sgd"]}}},
}


def strategy(method: str, *points: Params, parameters: Any = PARAMETERS, **keys: Any) -> SearchStrategy:
    config = parse_sweep({"method": method, "metric": {"name": "loss"}, "parameters": parameters}).config
    repeats = keys.pop("repeats", 1)
    return make_strategy(
        config, 3, JobTemplate(repeats=repeats, search=SearchSettings(start_points=points, **keys))
    )


def play(searcher: SearchStrategy, n: int, history: History | None = None) -> list[Params]:
    """Run n trials, one at a time."""
    history = History() if history is None else history
    for number in range(history.next_number, history.next_number + n):
        for params in searcher.suggest(history, 1):
            stats = {"loss": MetricStats().add(float(number % 5))}
            history.update([Trial(number=number, params=params, state=TrialState.FINISHED, metrics=stats)])
    return [trial.params for trial in history]


@pytest.mark.parametrize("method", ["random", "bayes", "grid"])
def test_start_points_are_the_first_trials(method: str) -> None:
    whole = {"layers": 8, "width": 16, "optimizer": {"name": "sgd"}}
    first, second, *_ = play(strategy(method, whole, {"layers": 4, "optimizer.name": "sgd"}), 4)
    assert first == whole
    assert (second["layers"], second["optimizer"]) == (4, {"name": "sgd"})
    assert second["width"] in (8, 16)


def test_grid_tries_start_points_first_and_no_cell_twice() -> None:
    same = {"layers": 8, "width": 16, "optimizer": {"name": "sgd"}}
    tried = play(strategy("grid", same, {"layers": 8}, same, {"width": 16.0}), 20)
    assert len(tried) == 12
    assert len({str(sorted(params.items())) for params in tried}) == 12
    assert tried[0] == same
    assert tried[1] == {"layers": 8, "width": 8, "optimizer": {"name": "adam"}}
    assert tried[2] == {"layers": 2, "width": 8, "optimizer": {"name": "adam"}}  # as without start points
    assert tried[3] == {"layers": 2, "width": 16, "optimizer": {"name": "adam"}}


def test_random_draws_missing_values_as_without_start_points() -> None:
    parameters = {"lr": {"min": 0.0, "max": 1.0}, "a": {"min": 0.0, "max": 1.0}}
    plain = play(strategy("random", parameters=parameters), 3)
    started = play(strategy("random", {"lr": 0.5}, {"lr": 0.25}, parameters=parameters), 3)
    assert started == [{"lr": 0.5, "a": plain[0]["a"]}, {"lr": 0.25, "a": plain[1]["a"]}, plain[2]]


def test_missing_values_follow_beliefs() -> None:
    points = [{"width": 8}] * 200
    beliefs = {"layers": Belief(around=8, confidence=0.7)}
    drawn = strategy("random", *points, beliefs=beliefs).suggest(History(), 200)
    assert sum(params["layers"] == 8 for params in drawn) / 200 == pytest.approx(0.7 + 0.1, abs=0.08)


@pytest.mark.parametrize("method", ["random", "bayes", "grid"])
def test_batches_equal_single_suggestions(method: str) -> None:
    searcher = strategy(method, {"layers": 8}, {"width": 16}, {"layers": 8, "width": 16})
    history = History([Trial(number=0, params=searcher.suggest(History(), 1)[0])])
    single = History(list(history))
    batch = searcher.suggest(history, 5)
    for number in range(1, 6):
        [params] = strategy(method, {"layers": 8}, {"width": 16}, {"layers": 8, "width": 16}).suggest(single, 1)
        single.update([Trial(number=number, params=params)])
    assert batch == [trial.params for trial in single][1:]


def test_bayes_completes_with_new_params_and_stays_distinct() -> None:
    tried = play(strategy("bayes", *[{"layers": 8}] * 4), 12)
    assert [params["layers"] for params in tried[:4]] == [8, 8, 8, 8]
    assert len({str(sorted(params.items())) for params in tried}) == 12


def test_repeats_of_start_points_have_the_same_params() -> None:
    searcher = strategy("random", {"layers": 8}, {"layers": 4}, repeats=3)
    tried = searcher.suggest(History(), 7)
    assert [params["layers"] for params in tried[:6]] == [8, 8, 8, 4, 4, 4]
    assert tried[0] == tried[1] == tried[2]
    history = History([Trial(number=i, params=tried[i]) for i in range(2)])
    assert searcher.suggest(history, 5) == tried[2:]


def test_repeats_of_confirm_do_not_replace_start_points() -> None:
    searcher = strategy("random", {"layers": 8}, {"layers": 4}, {"layers": 2})
    first, second = searcher.suggest(History(), 2)
    done = [Trial(number=0, params=first), Trial(number=1, params=second)]
    history = History([*done, Trial(number=2, params=first, confirms=0, repeat=1)])
    assert searcher.suggest(history, 1)[0]["layers"] == 2


def test_start_point_of_a_removed_trial_is_not_proposed_again() -> None:
    searcher = strategy("random", {"layers": 8}, {"layers": 4})
    history = History([Trial(number=0, params={}, is_removed=True)])
    assert searcher.suggest(history, 1)[0]["layers"] == 4


def test_prior_trials_cover_start_points_of_a_grid() -> None:
    prior = [Trial(number=0, params={"layers": 8, "width": 8, "optimizer": {"name": "adam"}})]
    searcher = strategy("grid", {"layers": 8})
    assert searcher.suggest(History(prior=prior), 1) == [{"layers": 8, "width": 16, "optimizer": {"name": "adam"}}]
