"""The even start, the acquisition function and its maximisation."""

from __future__ import annotations

import numpy as np
import pytest

from smsweep.search.bayes.acquisition import design_point, log_expected_improvement, maximise, mutated
from smsweep.space.distributions import Categorical, IntUniform, Uniform
from smsweep.space.space import SearchSpace
from smsweep.space.unit_cube import Array, Cube

CUBE = Cube(
    SearchSpace(
        {
            "a": Uniform(min=0.0, max=1.0),
            "b": IntUniform(min=0, max=9),
            "c": Categorical(values=("u", "v", "w")),
        }
    )
)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.5, 0.3), (-2.0, 0.5), (3.0, 1.0)])
def test_expected_improvement_is_the_mean_of_improvements(mean: float, deviation: float) -> None:
    draws = mean + deviation * np.random.default_rng(0).standard_normal(400_000)
    simulated = np.log(np.maximum(0.2 - draws, 0.0).mean())
    found = log_expected_improvement(np.array([mean]), np.array([deviation]), 0.2)[0]
    assert found == pytest.approx(simulated, abs=0.06)


def test_expected_improvement_orders_points_beyond_the_smallest_float() -> None:
    scores = log_expected_improvement(np.linspace(0.0, 60.0, 2000), np.ones(2000), 0.0)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) < 0).all()


@pytest.mark.parametrize("d", [1, 2, 9, 30])
def test_start_covers_each_axis_evenly(d: int) -> None:
    points = np.array([design_point(number, d, seed=3) for number in range(8)])
    assert (np.sort(np.floor(points * 8), axis=0) == np.arange(8)[:, None]).all()


def peak(points: Array) -> Array:
    return -((points[:, 0] - 0.37) ** 2) - (points[:, 1] - 0.25) ** 2 + 0.1 * (points[:, 2] > 0.7)


def best(taken: set[bytes]) -> Array:
    near = CUBE.snap(np.array([[0.9, 0.9, 0.1]]))
    found: Array = maximise(peak, CUBE, near, taken, np.random.default_rng(0))[0]
    return found


def test_maximise_finds_the_highest_point_on_mixed_axes() -> None:
    assert best(set()) == pytest.approx([0.37, 0.25, 5 / 6], abs=0.01)


def test_taken_point_is_left_out() -> None:
    assert best({best(set()).tobytes()}).tolist() != best(set()).tolist()


def test_mutations_are_valid_points() -> None:
    rng = np.random.default_rng(0)
    points = mutated(CUBE.snap(rng.random((5, 3))), np.full(200, 0.5), CUBE, rng)
    assert (points == CUBE.snap(points)).all()
    assert ((points >= 0.0) & (points <= 1.0)).all()
