"""Params as axes of figures."""

from __future__ import annotations

from smsweep.report.axes import Axis, axes_of
from smsweep.space.distributions import Constant
from smsweep.space.space import SearchSpace


def test_params_that_a_program_drew_are_axes_by_what_was_seen_of_them() -> None:
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
