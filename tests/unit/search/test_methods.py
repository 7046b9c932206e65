from __future__ import annotations

import pytest

from smsweep.search.grid_search import GridSearch
from smsweep.search.methods import METHODS, expected_trial_count
from smsweep.space.distributions import Categorical, Constant, IntUniform
from smsweep.space.space import SearchSpace
from smsweep.sweeps import SweepConfig

SPACE = SearchSpace(
    {
        "a": Categorical(values=(1, 2, 3)),
        "b": SearchSpace({"c": IntUniform(min=1, max=3), "d": Constant(value=0)}),
    }
)


def test_the_methods_are_those_of_wandb_that_choose_by_themselves() -> None:
    assert list(METHODS) == ["grid", "random", "bayes"]


def test_a_method_is_built_from_a_config_and_a_seed() -> None:
    assert isinstance(METHODS["grid"](SweepConfig(method="grid", space=SPACE), 0), GridSearch)


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
