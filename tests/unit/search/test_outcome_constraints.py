from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm  # type: ignore[import-untyped]

from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.job import JobTemplate, SearchSettings
from smsweep.core.trial import History, MetricStats, Params, Trial, TrialState
from smsweep.search.base import SearchStrategy
from smsweep.search.bayes.feasibility import FeasibilityModel, _log_cdf
from smsweep.search.registry import make_strategy
from smsweep.space.unit_cube import Cube

PARAMETERS = {name: {"distribution": "uniform", "min": 0.0, "max": 1.0} for name in ("x", "y")}
# the best params are in the corner (1, 1); at most 0.8 of x + y are allowed
LIMIT = "size <= 0.8"


def values_of(params: Params) -> dict[str, float]:
    x, y = params["x"], params["y"]
    return {"loss": (1 - x) ** 2 + 1.5 * (1 - y) ** 2, "size": x + y}


def strategy(seed: int, constraints: tuple[str, ...], **keys: Any) -> SearchStrategy:
    keys = keys or {"method": "bayes", "metric": {"name": "loss"}}
    config = parse_sweep({"parameters": PARAMETERS, **keys}).config
    return make_strategy(config, seed, JobTemplate(search=SearchSettings(outcome_constraints=constraints)))


def run(searcher: SearchStrategy, n: int, *, omits: str = "") -> list[dict[str, float]]:
    history, known = History(), []
    for number in range(n):
        params = searcher.suggest(history, 1)[0]
        known.append(values_of(params))
        stats = {name: MetricStats().add(value) for name, value in known[-1].items() if name != omits}
        history.update([Trial(number=number, params=params, state=TrialState.FINISHED, metrics=stats)])
    return known


@pytest.mark.parametrize("seed", range(3))
def test_bayes_finds_the_best_params_at_the_limit(seed: int) -> None:
    known = run(strategy(seed, (LIMIT,)), 30)
    feasible = [values["loss"] for values in known if values["size"] <= 0.8]
    best = min((1 - x) ** 2 + 1.5 * (0.2 + x) ** 2 for x in np.linspace(0.0, 0.8, 801).tolist())
    assert min(feasible) < best + 0.03
    unconstrained = run(strategy(seed, ()), 30)
    assert len(feasible) > 2 * sum(values["size"] <= 0.8 for values in unconstrained)


def test_bayes_finds_a_small_feasible_region() -> None:
    # 1 % of the space, not at the best loss
    assert all(
        min(each["size"] for each in run(strategy(seed, ("size <= 0.14",)), 30)) <= 0.14 for seed in range(3)
    )


def test_constraint_that_no_trial_reports_has_no_influence() -> None:
    assert run(strategy(0, (LIMIT,)), 14, omits="size") == run(strategy(0, ()), 14, omits="size")


def test_batch_of_suggestions_equals_single_suggestions() -> None:
    history = History()
    for number in range(12):
        params = strategy(1, (LIMIT,)).suggest(history, 1)[0]
        stats = {name: MetricStats().add(value) for name, value in values_of(params).items()}
        history.update([Trial(number=number, params=params, state=TrialState.FINISHED, metrics=stats)])
    three = strategy(1, (LIMIT,)).suggest(history, 3)
    single = []
    for number in range(12, 15):
        single += strategy(1, (LIMIT,)).suggest(history, 1)
        history.update([Trial(number=number, params=single[-1])])
    assert three == single


def test_pareto_search_prefers_feasible_trials() -> None:
    keys = {"method": "custom", "metrics": [{"name": "loss"}, {"name": "other"}]}

    def n_feasible(constraints: tuple[str, ...]) -> int:
        searcher, history, sizes = strategy(0, constraints, **keys), History(), []
        for number in range(24):
            params = searcher.suggest(history, 1)[0]
            values = values_of(params) | {"other": (1 - params["x"]) ** 2 + 0.1 * params["y"]}
            sizes.append(values["size"])
            stats = {name: MetricStats().add(value) for name, value in values.items()}
            history.update([Trial(number=number, params=params, state=TrialState.FINISHED, metrics=stats)])
        return sum(size <= 0.8 for size in sizes)

    assert n_feasible((LIMIT,)) > 1.5 * n_feasible(())


def test_probability_of_feasibility_follows_the_values() -> None:
    space = parse_sweep({"method": "random", "parameters": PARAMETERS}).config.space
    cube, rng = Cube(space), np.random.default_rng(0)
    model = FeasibilityModel((LIMIT, "size > -1"), cube)
    params = [{"x": x, "y": y} for x, y in rng.random((25, 2)).tolist()]
    history = History(
        Trial(
            number=i,
            params=each,
            state=TrialState.FINISHED,
            metrics={"size": MetricStats().add(each["x"] + each["y"])},
        )
        for i, each in enumerate(params)
    )
    model.follow(history)
    inside, border, outside = model.log_probability()(np.array([[0.1, 0.2], [0.4, 0.4], [0.9, 0.8]])).tolist()
    assert inside > math.log(0.95)
    assert math.log(0.1) < border < math.log(0.9)
    assert outside < math.log(0.02)


def test_log_of_the_normal_distribution_is_exact_enough() -> None:
    x = np.array([-80.0, -31.0, -29.99, -10.0, -1.0, 0.0, 3.0, 9.0])
    assert np.allclose(_log_cdf(x), norm.logcdf(x), rtol=2e-3, atol=1e-5)
