from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.job import JobTemplate, SearchSettings
from smsweep.core.sweep import Metric
from smsweep.core.trial import History, MetricStats, Params, Trial, TrialState
from smsweep.errors import ConfigError
from smsweep.search.base import SearchStrategy
from smsweep.search.bayes.beliefs import Beliefs
from smsweep.search.bayes.observations import Ledger, observed
from smsweep.search.registry import make_strategy
from smsweep.space.belief import Belief, Peak
from smsweep.space.space import SearchSpace
from smsweep.space.structure import Allowed, Condition
from smsweep.space.unit_cube import INACTIVE, Cube

PARAMETERS = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0},
    "layers": {"min": 1, "max": 100},
    "optimizer": {"parameters": {"name": {"values": ["adam", "sgd", "lamb", "lion"]}}},
}


def strategy(method: str, beliefs: dict[str, Belief], seed: int = 0, **keys: Any) -> SearchStrategy:
    config = parse_sweep({"method": method, "metric": {"name": "loss"}, "parameters": PARAMETERS, **keys}).config
    return make_strategy(config, seed, JobTemplate(search=SearchSettings(beliefs=beliefs)))


def test_random_draws_from_the_mix_of_belief_and_distribution() -> None:
    beliefs = {
        "lr": Belief(around=1e-3, confidence=0.8),
        "layers": Belief(around=90, confidence=0.5),
        "optimizer.name": Belief(around="lion", confidence=0.6),
    }
    drawn = strategy("random", beliefs).suggest(History(), 4000)
    names = Counter(params["optimizer"]["name"] for params in drawn)
    assert names["lion"] / 4000 == pytest.approx(0.6 + 0.4 / 4, abs=0.03)
    assert names["adam"] / 4000 == pytest.approx(0.4 / 4, abs=0.02)
    # the normal has 95 % of its mass within two tenths of the range; two of five decades are four tenths
    near = sum(1e-4 <= params["lr"] <= 1e-2 for params in drawn) / 4000
    assert near == pytest.approx(0.8 * 0.954 + 0.2 * 0.4, abs=0.03)
    assert sum(params["layers"] > 70 for params in drawn) / 4000 == pytest.approx(0.5 * 0.97 + 0.5 * 0.3, abs=0.03)
    assert all(1 <= params["layers"] <= 100 and 1e-5 <= params["lr"] <= 1.0 for params in drawn)


def test_parameters_without_belief_keep_their_draws() -> None:
    plain = strategy("random", {}).suggest(History(), 20)
    believed = strategy("random", {"lr": Belief(around=0.1, confidence=0.9)}).suggest(History(), 20)
    assert [params["layers"] for params in plain] == [params["layers"] for params in believed]
    assert [params["lr"] for params in plain] != [params["lr"] for params in believed]


@pytest.mark.parametrize("center", [0.0, 0.03, 0.5, 1.0])
def test_peak_is_a_density_on_the_unit_interval(center: float) -> None:
    peak = Peak(center=center)
    us = (np.arange(4000) + 0.5) / 4000
    density = np.array([peak.pdf(u) for u in us.tolist()])
    assert density.mean() == pytest.approx(1.0, rel=1e-3)
    for p in (0.1, 0.5, 0.9):
        assert (density * (us <= peak.ppf(p))).mean() == pytest.approx(p, abs=2e-3)
    assert 0.0 <= peak.ppf(0.0) <= peak.ppf(1.0) <= 1.0


def test_weight_of_beliefs_is_limited_and_fades_with_observations() -> None:
    space = parse_sweep({"method": "random", "parameters": PARAMETERS}).config.space
    cube = Cube(space)
    beliefs = Beliefs({"lr": Belief(around=1e-3, confidence=0.8)}, space, cube)
    near = cube.encode({"lr": 1e-3, "layers": 5, "optimizer": {"name": "sgd"}})[0]
    far = cube.encode({"lr": 0.9, "layers": 5, "optimizer": {"name": "sgd"}})[0]
    weights = [beliefs.log_weight(np.array([near, far]), n) for n in (10, 100, 1000)]
    gains = [float(weight[0] - weight[1]) for weight in weights]
    assert gains[0] > gains[1] > gains[2] > 0.0
    assert gains[0] == pytest.approx(10 * gains[1])
    assert gains[0] < np.log((0.2 + 0.8 * 4) / 0.2)


def test_beliefs_guide_no_trials_after_bad_results() -> None:
    space = parse_sweep({"method": "random", "parameters": PARAMETERS}).config.space
    beliefs = Beliefs({"lr": Belief(around=1e-3, confidence=0.8)}, space, Cube(space))

    def guided(is_right: bool) -> list[int]:
        ledger, history = Ledger(Cube(space), Metric(name="loss")), History()
        for number in range(8):
            value = number % 4 + number / 10 if is_right else 10 - number % 4 + number / 10
            params = {"lr": 0.1, "layers": 1 + number, "optimizer": {"name": "sgd"}}
            stats = {"loss": MetricStats().add(value)}
            history.update([Trial(number=number, params=params, state=TrialState.FINISHED, metrics=stats)])
        known = observed(ledger.follow(history))
        return [number for number in range(8, 16) if beliefs.guide(number, known)]

    assert guided(True) == [8, 9, 12, 13]  # half of the trials ignore the beliefs
    assert guided(False) == []


def _loss(params: Params, best: float) -> float:
    layers = abs(params["layers"] - 40) / 100
    return float((np.log10(params["lr"]) - best) ** 2 + layers + (params["optimizer"]["name"] != "sgd"))


def _run(method: str, beliefs: dict[str, Belief], n: int, seed: int) -> float:
    searcher, history, losses = strategy(method, beliefs, seed), History(), []
    for number in range(n):
        params = searcher.suggest(history, 1)[0]
        losses.append(_loss(params, -1.4))
        stats = {"loss": MetricStats().add(losses[-1])}
        history.update([Trial(number=number, params=params, state=TrialState.FINISHED, metrics=stats)])
    return min(losses)


RIGHT = {"lr": Belief(around=0.04, confidence=0.8), "optimizer.name": Belief(around="sgd", confidence=0.8)}
WRONG = {"lr": Belief(around=1e-5, confidence=0.8), "optimizer.name": Belief(around="lamb", confidence=0.8)}


def test_right_belief_gains_early_and_wrong_belief_is_overcome() -> None:
    seeds = range(6)
    early = [np.mean([_run("bayes", each, 8, seed) for seed in seeds]) for each in ({}, RIGHT)]
    assert early[1] < 0.7 * early[0]
    late = [np.mean([_run("bayes", each, 40, seed) for seed in seeds]) for each in ({}, WRONG)]
    assert late[1] < late[0] + 0.1  # the losses reach from 0 to 14


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_suggestions_with_beliefs_do_not_depend_on_the_batch(method: str) -> None:
    searcher, history = strategy(method, RIGHT), History()
    for number in range(9):
        [params] = searcher.suggest(history, 1)
        stats = {"loss": MetricStats().add(_loss(params, -1.4))}
        history.update([Trial(number=number, params=params, state=TrialState.FINISHED, metrics=stats)])
    three = searcher.suggest(history, 3)
    one_by_one = []
    for number in range(9, 12):
        [params] = strategy(method, RIGHT).suggest(history, 1)
        one_by_one.append(params)
        history.update([Trial(number=number, params=params)])
    assert three == one_by_one


def test_pareto_search_accepts_beliefs() -> None:
    metrics = {"metric": None, "method": "custom", "metrics": [{"name": "a"}, {"name": "b"}]}
    config = parse_sweep(
        {key: value for key, value in metrics.items() if value} | {"parameters": PARAMETERS}
    ).config
    job = JobTemplate(search=SearchSettings(beliefs={"lr": Belief(around=1e-3, confidence=0.99)}))
    first = make_strategy(config, 0, job).suggest(History(), 1)[0]
    assert 1e-5 < first["lr"] < 1e-1


def test_grid_refuses_beliefs() -> None:
    config = parse_sweep({"method": "grid", "parameters": {"a": {"values": [1, 2]}}}).config
    with pytest.raises(
        ConfigError, match=r"search\.beliefs: the search method grid cannot use beliefs; use method"
    ):
        make_strategy(
            config, 0, JobTemplate(search=SearchSettings(beliefs={"a": Belief(around=1, confidence=0.5)}))
        )


def test_belief_about_a_conditional_parameter_counts_only_if_it_exists() -> None:
    plain = parse_sweep({"method": "random", "parameters": PARAMETERS}).config.space
    when = Condition(parameter="lr", when={"optimizer.name": Allowed(values=("sgd",))})
    space = SearchSpace(plain.parameters, (when,))
    cube = Cube(space)
    beliefs = Beliefs({"lr": Belief(around=1e-3, confidence=0.8)}, space, cube)
    points = cube.snap(np.random.default_rng(0).random((50, cube.d)))
    weights = beliefs.log_weight(points, 10)
    is_inactive = (points == INACTIVE).any(axis=1)
    assert 0 < is_inactive.sum() < 50
    assert (weights[is_inactive] == 0.0).all()
    assert (weights[~is_inactive] != 0.0).all()
    near = cube.encode({"lr": 1e-3, "layers": 5, "optimizer": {"name": "sgd"}})[0]
    assert float(beliefs.log_weight(near[None], 10)[0]) > 1.0
