"""Our distributions give the same values as W&B's at the same quantile."""

from __future__ import annotations

import math
import random
from statistics import NormalDist
from typing import Any

import pytest

from smsweep.errors import SpaceError
from smsweep.space.distribution import identity
from smsweep.space.distributions import DISTRIBUTIONS
from smsweep.space.normal import Quantised
from smsweep.space.numeric import Continuous
from tests.oracle.sweeps_cases import Parameter, ask, distribution_of, nested, parameter, space_of

pytestmark = pytest.mark.oracle

N_CONFIGS = 30  # cases per distribution
TOLERANCE = 1e-9  # relative; W&B uses other implementations of exp, log and the normal quantile


def is_close(ours: float, theirs: float) -> bool:
    return math.isclose(ours, theirs, rel_tol=TOLERANCE, abs_tol=1e-12)


def agree(item: Parameter, u: float, ours: Any, theirs: Any) -> bool:
    """Return True if two values at u are equal up to rounding, and of the same type."""
    distribution = distribution_of(item)
    if type(ours) is not type(theirs):
        return False
    if isinstance(distribution, Quantised):
        ratio = distribution.quantile(u) / distribution.q
        is_tie = abs(abs(ratio - math.floor(ratio)) - 0.5) < TOLERANCE * max(abs(ratio), 1.0)
        return is_close(ours, theirs) or (is_tie and is_close(abs(ours - theirs), distribution.q))
    if isinstance(distribution, Continuous):
        return is_close(ours, theirs)
    return identity(ours) == identity(theirs)


Case = dict[str, Any]


@pytest.fixture(scope="module")
def answered() -> list[tuple[Case, list[Any]]]:
    rng = random.Random(1)
    cases: list[Case] = []
    for kind in DISTRIBUTIONS:
        for _ in range(N_CONFIGS):
            us = [rng.random() for _ in range(30)] + [rng.randint(1, 15) / 16 for _ in range(5)]
            cases.append({"parameter": parameter(rng, kind), "us": us})
    return list(zip(cases, ask("ppf", cases), strict=True))


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_value_at_quantile_equals_wandb(kind: str, answered: list[tuple[Case, list[Any]]]) -> None:
    compared = [
        (case["parameter"], u, distribution_of(case["parameter"]).ppf(u), theirs)
        for case, answers in answered
        for u, theirs in zip(case["us"], answers, strict=True)
        if case["parameter"]["distribution"] == kind
    ]
    assert len(compared) == N_CONFIGS * 35
    assert not [different for different in compared if not agree(*different)]


def test_cumulative_probabilities_are_those_of_wandb() -> None:
    rng = random.Random(2)
    cases: list[Case] = []
    for kind in DISTRIBUTIONS:
        if issubclass(DISTRIBUTIONS[kind], Continuous) or kind == "int_uniform":
            for _ in range(10):
                item = parameter(rng, kind)
                values = [distribution_of(item).sample(rng) for _ in range(10)]
                cases.append({"parameter": item, "values": [value for value in values if value > 0]})
    differences = [
        (case["parameter"], value, ours, theirs)
        for case, answers in zip(cases, ask("cdf", cases), strict=True)
        for value, theirs in zip(case["values"], answers, strict=True)
        if not math.isclose(
            ours := distribution_of(case["parameter"]).cdf(value), theirs, rel_tol=1e-8, abs_tol=1e-9
        )
    ]
    assert not differences


def test_nested_draws_equal_wandb_with_same_seed() -> None:
    rng = random.Random(3)

    def any_parameter(rng: random.Random) -> Parameter:
        return parameter(
            rng, rng.choice(["constant", "categorical", "int_uniform", "uniform", "log_uniform_values"])
        )

    cases: list[Case] = [{"parameters": nested(rng, any_parameter), "seed": seed, "n": 5} for seed in range(300)]
    differences = []
    for case, theirs in zip(cases, ask("draw", cases), strict=True):
        space, same_rng = space_of(case["parameters"]), random.Random(case["seed"])
        for params in theirs:
            ours = space.flatten(space.sample(same_rng))
            for (_, leaf), mine, other in zip(space.leaves, ours, space.flatten(params), strict=True):
                is_same = (
                    is_close(mine, other) if isinstance(leaf, Continuous) else identity(mine) == identity(other)
                )
                if not is_same:
                    differences.append((case["parameters"], mine, other))
    assert not differences


NAN = float("nan")
INTENDED: tuple[tuple[Parameter, float, Any, Any, str], ...] = (
    (
        {"distribution": "int_uniform", "min": 1, "max": 5},
        *(0.0, 0, 1),
        "W&B leaves the range at u = 0; a value stays within its bounds",
    ),
    (
        {"distribution": "categorical", "values": ["a", "b"]},
        *(0.0, "b", "a"),
        "W&B indexes with -1 at u = 0 and so takes the last value",
    ),
    (
        {"distribution": "categorical_w_probabilities", "values": ["a", "b"], "probabilities": [0.5, 0.5]},
        *(1.0, "a", "b"),
        "W&B finds no share above u = 1 and so takes the first value",
    ),
    (
        {"distribution": "normal"},
        *(0.0, -math.inf, NormalDist().inv_cdf(2.0**-53)),
        "an infinite value is of no use: u stops at 2^-53, the least that a random float can be",
    ),
    (
        {"distribution": "normal", "mu": 3.0, "sigma": 0.0},
        *(0.3, NAN, 3.0),
        "the schema allows sigma 0, scipy does not",
    ),
    (
        {"distribution": "log_normal", "mu": 0.0, "sigma": 0.0},
        *(0.3, NAN, 1.0),
        "the schema allows sigma 0, scipy does not",
    ),
)


def test_defects_of_wandb_are_not_copied() -> None:
    answers = ask("ppf", [{"parameter": item, "us": [u]} for item, u, *_ in INTENDED])
    for (item, u, theirs, ours, why), [answer] in zip(INTENDED, answers, strict=True):
        assert identity(answer) == identity(theirs), why
        assert identity(distribution_of(item).ppf(u)) == identity(ours), why


def test_beta_without_shape_is_refused_although_wandb_draws_nan() -> None:
    item = {"distribution": "beta", "a": 0, "b": 1}
    [[answer]] = ask("ppf", [{"parameter": item, "us": [0.5]}])
    assert math.isnan(answer)
    with pytest.raises(SpaceError, match="a > 0"):
        distribution_of(item)
