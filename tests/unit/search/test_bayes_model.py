from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from smsweep.search.bayes import gaussian_process as fit_module
from smsweep.search.bayes.gaussian_process import (
    PRIORS,
    Kernel,
    Model,
    Posterior,
    fit,
    inverse_of_factor,
    minimise,
)
from smsweep.search.bayes.search import one_thread
from smsweep.space import unit_cube
from smsweep.space.unit_cube import INACTIVE, Array, gaps, matern

NOMINAL = np.array([unit_cube.ORDERED, unit_cube.ORDERED, unit_cube.NOMINAL], dtype=np.int8)


def data(n: int = 25) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(1)
    x = rng.random((n, 3))
    x[:, 2] = np.floor(3 * x[:, 2])
    y = np.sin(5 * x[:, 0]) + 0.5 * (x[:, 2] == 1) + 0.05 * rng.standard_normal(n)
    return x, y, np.zeros(n)


def best(observations: tuple[Array, Array, Array]) -> Model:
    return fit_module._model(fit(*observations, NOMINAL).best)


def test_matern_decreases_from_one_to_zero() -> None:
    r = np.array([0.0, 0.5, 1.0, 50.0])
    assert matern(r, r * r) == pytest.approx([1.0, 0.8286, 0.5240, 0.0], abs=1e-4)


def test_nominal_values_have_equal_distances() -> None:
    a = np.array([[0.1], [0.5], [0.9]])
    (gap,) = gaps(a, a, NOMINAL[2:])
    assert gap.tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]


def test_inactive_coordinate_is_equally_far_from_all_values() -> None:
    a = np.array([[0.0], [0.4], [1.0], [INACTIVE]])
    (gap,) = gaps(a, a, np.array([unit_cube.CONDITIONAL], dtype=np.int8))
    assert gap[3].tolist() == [1.0, 1.0, 1.0, 0.0]
    assert gap[0, :3] == pytest.approx([0.0, 0.397, 0.959], abs=1e-3)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_covariance_of_conditional_points_is_positive_definite(scale: float) -> None:
    x = np.r_[np.linspace(0.0, 1.0, 15), INACTIVE][:, None]
    kernel = Kernel(scales=np.array([scale]), main=1.0, joint=1.0)
    covariance = kernel(gaps(x, x, np.array([unit_cube.CONDITIONAL], dtype=np.int8)))
    assert np.linalg.eigvalsh(covariance).min() > -1e-9


def test_main_effects_depend_on_one_axis_and_the_interaction_on_all() -> None:
    far_along_one = [np.array([0.0]), np.array([100.0])]
    scales = np.ones(2)
    main = Kernel(scales=scales, main=1.0, joint=0.0, bias=0.0)
    joint = Kernel(scales=scales, main=0.0, joint=1.0, bias=0.0)
    assert float(main(far_along_one)[0]) == pytest.approx(0.5)
    assert float(joint(far_along_one)[0]) == pytest.approx(0.0)


def test_gradient_of_the_density_matches_its_values() -> None:
    x, y, doubt = data()
    density = fit_module._Density(x, y, doubt + 0.01, NOMINAL, PRIORS)
    theta = density.mean + 0.2 * np.random.default_rng(0).standard_normal(6)
    steps = 1e-5 * np.eye(6)
    numeric = [(density(theta + step)[0] - density(theta - step)[0]) / 2e-5 for step in steps]
    assert density(theta)[1] == pytest.approx(numeric, abs=1e-5)


@pytest.mark.parametrize("n", [1, 32, 33, 100])
def test_inverse_of_factor_is_exact(n: int) -> None:
    rows = np.random.default_rng(n).standard_normal((n, n))
    factor = np.linalg.cholesky(np.eye(n) + rows @ rows.T)
    assert inverse_of_factor(factor) @ factor == pytest.approx(np.eye(n), abs=1e-9)


def test_fit_with_a_sketch_equals_fit_without(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, doubt = data(100)
    density = fit_module._Density(x, y, doubt, NOMINAL, PRIORS)
    sketched = fit(x, y, doubt, NOMINAL)
    monkeypatch.setattr(fit_module, "SKETCH", 1000)
    fit_module._fit.cache_clear()
    whole = fit(x, y, doubt, NOMINAL)
    fit_module._fit.cache_clear()
    assert sketched.best.tolist() != whole.best.tolist()
    assert density(sketched.best)[0] == pytest.approx(density(whole.best)[0], abs=0.2)


def test_linear_algebra_uses_one_thread() -> None:
    with one_thread():
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}


def test_fit_finds_the_important_axis_and_the_noise() -> None:
    model = best(data(60))
    assert model.kernel.scales[0] < model.kernel.scales[1] / 1.5
    assert 0.02 < model.noise**0.5 < 0.15


def test_equal_points_with_different_values_count_as_noise() -> None:
    x, y = np.full((6, 3), 0.5), np.arange(6.0)
    assert best((x, y, np.zeros(6))).noise > 0.1


def test_minimise_finds_the_minimum_of_a_curved_valley() -> None:
    def rosenbrock(p: Array) -> tuple[float, Array]:
        a, b = 1.0 - p[0], p[1] - p[0] ** 2
        return float(a * a + 100 * b * b), np.array([-2 * a - 400 * p[0] * b, 200 * b])

    bottom, inverse_hessian = minimise(rosenbrock, np.array([-1.2, 1.0]), np.eye(2), 200, 1e-12)
    assert bottom == pytest.approx([1.0, 1.0], abs=1e-3)
    assert inverse_hessian == pytest.approx(np.array([[0.5, 1.0], [1.0, 2.005]]), abs=0.1)


def posterior(doubt: float = 0.0) -> tuple[Posterior, Array, Array]:
    x, y, none = data()
    kernel = Kernel(scales=np.full(3, 0.4), main=0.5, joint=0.5)
    return Posterior(Model(kernel=kernel, noise=1e-6), x, y, none + doubt, NOMINAL), x, y


def test_posterior_reproduces_the_observations() -> None:
    belief, x, y = posterior()
    mean, deviation = belief.predict(x)
    assert mean == pytest.approx(y, abs=0.01)
    assert deviation.max() < 0.01


def test_posterior_weighs_uncertain_observations_less() -> None:
    mean, deviation = posterior(doubt=1.0)[0].predict(data()[0])
    assert np.abs(mean - data()[1]).max() > 0.1
    assert deviation.min() > 0.1


def test_pending_points_reduce_uncertainty_and_keep_the_means() -> None:
    belief, _, _ = posterior()
    rng = np.random.default_rng(2)
    pending, other = rng.random((3, 3)), rng.random((50, 3))
    mean, deviation = belief.predict(other)
    after_mean, after_deviation = belief.believing(pending).predict(other)
    assert after_mean == pytest.approx(mean, abs=1e-6)
    assert (after_deviation <= deviation + 1e-9).all()
    assert belief.believing(pending).predict(pending)[1].max() < 0.01
