"""Tests of the axes of params in figures."""

from __future__ import annotations

from smsweep.report.axes import Axis, axes_of
from smsweep.space.distributions import Constant
from smsweep.space.space import SearchSpace


def test_axes_of_a_search_program_come_from_observed_values() -> None:
    space = SearchSpace({"epochs": Constant(value=3)})
    trials = [
        {"epochs": 3, "lr": 1e-4, "kind": "adam", "layers": 1},
        {"epochs": 3, "lr": 1e-1, "kind": "sgd", "layers": 3, "momentum": 0.5},
        {"epochs": 3, "lr": 1e-2, "kind": "sgd", "layers": 2, "momentum": 0.0},
    ]
    assert axes_of(space, trials) == [
        Axis(name="lr", is_log=True),
        Axis(name="kind", categories=('"adam"', '"sgd"')),
        Axis(name="layers"),
        Axis(name="momentum"),
    ]
