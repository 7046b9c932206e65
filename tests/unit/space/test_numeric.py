from __future__ import annotations

import math

import pytest

from smsweep.space.distributions import (
    Beta,
    IntUniform,
    InvLogUniform,
    InvLogUniformValues,
    LogNormal,
    LogUniform,
    LogUniformValues,
    Normal,
    QLogUniformValues,
    QNormal,
    QUniform,
    Uniform,
)


def test_int_uniform_includes_both_ends() -> None:
    law = IntUniform(min=-2, max=2)
    assert {law.ppf(u / 100) for u in range(101)} == {-2, -1, 0, 1, 2}


def test_grid_of_a_huge_int_range_is_not_listed() -> None:
    law = IntUniform(min=0, max=10**30)
    assert law.grid_value(10**29) == 10**29
    assert law.grid_index(10**29 + 1) == 10**29 + 1


def test_whole_float_matches_the_int_in_a_grid() -> None:
    assert IntUniform(min=1, max=5).grid_index(3.0) == 2
    assert IntUniform(min=1, max=5).grid_index(3.5) is None
    assert IntUniform(min=0, max=5).grid_index(True) is None


def test_uniform_gives_floats_also_between_ints() -> None:
    assert repr(Uniform(min=0, max=2).ppf(0.5)) == "1.0"


def test_log_uniform_takes_exponents() -> None:
    assert LogUniform(min=-11, max=-2).ppf(0.0) == pytest.approx(math.exp(-11))


def test_inv_log_uniform_negates_the_exponents() -> None:
    law = InvLogUniform(min=1.0, max=2.0)
    assert (law.ppf(0.0), law.ppf(1.0)) == pytest.approx((math.exp(-2), math.exp(-1)))


def test_log_uniform_values_reaches_its_bounds_exactly() -> None:
    law = LogUniformValues(min=1e-5, max=0.1)
    assert (law.ppf(0.0), law.ppf(1.0)) == (1e-5, 0.1)


def test_inv_log_uniform_values_equals_log_uniform_values() -> None:
    assert InvLogUniformValues(min=1, max=9).ppf(0.3) == LogUniformValues(min=1, max=9).ppf(0.3)


def test_normal_distribution_is_finite_at_zero_and_one() -> None:
    assert -8.3 < Normal().ppf(0.0) < -8.2
    assert 8.2 < Normal().ppf(1.0) < 8.3


def test_normal_distribution_without_spread_has_one_value() -> None:
    law = Normal(mu=2.5, sigma=0.0)
    assert law.ppf(0.9) == 2.5
    assert law.size == 1


def test_median_of_log_normal_is_e_to_the_mu() -> None:
    assert LogNormal(mu=1.0, sigma=3.0).ppf(0.5) == pytest.approx(math.e)


@pytest.mark.parametrize(("a", "b", "u", "x"), [(1, 1, 0.3, 0.3), (2, 1, 0.25, 0.5), (0.5, 0.5, 0.5, 0.5)])
def test_beta_agrees_with_its_closed_forms(a: float, b: float, u: float, x: float) -> None:
    assert Beta(a=a, b=b).ppf(u) == pytest.approx(x, rel=1e-14)
    assert Beta(a=a, b=b).cdf(x) == pytest.approx(u, rel=1e-14)


def test_beta_has_its_bounds_only_at_zero_and_one() -> None:
    assert (Beta(a=2, b=3).ppf(0.0), Beta(a=2, b=3).ppf(1.0)) == (0.0, 1.0)


def test_values_rounded_to_q_can_be_outside_the_bounds_as_in_wandb() -> None:
    assert {QUniform(min=5, max=14, q=10).ppf(u / 50) for u in range(51)} == {0, 10}
    assert {QLogUniformValues(min=1, max=100, q=64).ppf(u / 50) for u in range(51)} == {0, 64, 128}


def test_int_q_gives_ints_and_the_default_q_floats() -> None:
    assert repr(QUniform(min=0, max=10, q=1).ppf(0.5)) == "5"
    assert repr(QUniform(min=0, max=10).ppf(0.5)) == "5.0"


def test_tie_is_rounded_to_the_even_multiple() -> None:
    assert [QUniform(min=0, max=4, q=1).ppf(u) for u in (0.125, 0.375)] == [0, 2]


def test_grid_of_q_uniform_excludes_max() -> None:
    law = QUniform(min=0, max=10, q=5)
    assert [law.grid_value(i) for i in range(law.grid_size)] == [0, 5]


def test_grid_of_q_uniform_has_the_rounding_errors_of_wandb() -> None:
    law = QUniform(min=0.1, max=0.5, q=0.1)
    assert [law.grid_value(i) for i in range(law.grid_size)] == [0.1, 0.2, 0.30000000000000004, 0.4]


def test_quantised_normal_distribution_is_infinite() -> None:
    assert QNormal(q=2).size is None
    assert QNormal(mu=3.2, sigma=0.0, q=2).size == 1


def test_grid_of_huge_whole_steps_is_exact() -> None:
    law = QUniform(min=1, max=10**30, q=7)
    assert law.grid_index(law.grid_value(10**28 + 3)) == 10**28 + 3


def test_size_is_none_if_floats_cannot_distinguish_the_multiples() -> None:
    assert QLogUniformValues(min=1.0, max=1e20, q=0.01).size is None


def test_huge_value_is_not_a_multiple_of_q() -> None:
    law = QUniform(min=-3, max=6, q=0.001)
    assert law.index_of(1e308) is None
    assert law.grid_index(1e308) is None
