"""The built-in search methods pass the contract that plug-ins can run, and broken methods do not.

tests/oracle/test_optuna.py runs the contract for Optuna, and test_ax.py for Ax, which are not installed here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from smsweep.core.sweep import Metric
from smsweep.core.trial import History, Params
from smsweep.search.registry import METHODS, SearchSpec
from smsweep.space.space import SearchSpace
from smsweep.testing import SearchContract
from smsweep.testing.search_contract import CONDITIONAL, CONSTRAINED, FINITE, MIXED


class TestGrid(SearchContract):
    spec = METHODS["grid"]
    spaces = (FINITE, CONSTRAINED[0], CONDITIONAL[0])


class TestRandom(SearchContract):
    spec = METHODS["random"]
    spaces = (FINITE, MIXED, *CONSTRAINED, *CONDITIONAL)


class TestBayes(SearchContract):
    spec = METHODS["bayes"]
    spaces = (FINITE, MIXED, *CONSTRAINED, *CONDITIONAL)


class TestPareto(SearchContract):
    spec = METHODS["pareto"]
    spaces = (FINITE, MIXED, *CONSTRAINED, *CONDITIONAL)
    metrics = (Metric(name="loss"), Metric(name="size"))


def with_chance(space: SearchSpace, history: History, n: int) -> list[Params]:
    return [space.sample(random.Random()) for _ in range(n)]


def one_too_many(space: SearchSpace, history: History, n: int) -> list[Params]:
    return [space.sample(random.Random(number)) for number in range(n + 1)]


def outside(space: SearchSpace, history: History, n: int) -> list[Params]:
    return [{**space.sample(random.Random(number)), "unknown": 1} for number in range(n)]


def by_position(space: SearchSpace, history: History, n: int) -> list[Params]:
    return [space.sample(random.Random(number)) for number in range(n)]


@pytest.mark.parametrize(
    ("suggest", "test"),
    [
        (with_chance, "test_same_history_and_seed_give_same_params"),
        (one_too_many, "test_suggests_at_most_as_many_trials_as_asked"),
        (outside, "test_suggests_params_of_the_space"),
        (by_position, "test_trials_at_once_equal_trials_one_by_one"),
    ],
)
def test_contract_fails_for_a_broken_method(suggest: Callable[..., list[Params]], test: str) -> None:
    class Broken:
        def __init__(self, space: SearchSpace, seed: int) -> None:
            self.space = space

        def suggest(self, history: History, n: int) -> list[Params]:
            return suggest(self.space, history, n)

    contract: Any = SearchContract()
    contract.spec = SearchSpec(name="broken", summary="", factory=Broken)
    with pytest.raises(AssertionError):
        getattr(contract, test)()
