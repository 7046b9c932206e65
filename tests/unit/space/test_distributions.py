from __future__ import annotations

import json
import math
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsweep.space.distribution import identity
from smsweep.space.distributions import DISTRIBUTIONS, Distribution
from smsweep.space.normal import Quantised
from smsweep.space.numeric import Continuous, IntUniform
from tests.unit.space.laws import LAWS, any_law, finite_laws, grid_laws, unit

EPSILON = sys.float_info.epsilon
NUMERIC = [kind for kind, cls in DISTRIBUTIONS.items() if issubclass(cls, (Continuous, IntUniform))]
UNROUNDED = [kind for kind in NUMERIC if kind != "int_uniform" and not issubclass(DISTRIBUTIONS[kind], Quantised)]
DISCRETE = [kind for kind in LAWS if kind not in UNROUNDED]


@pytest.mark.parametrize("kind", LAWS)
def test_table_has_each_class_under_its_kind(kind: str) -> None:
    assert DISTRIBUTIONS[kind].kind == kind


@pytest.mark.parametrize("kind", DISCRETE)
@given(data=st.data(), u=unit)
def test_ppf_inverts_cdf_of_a_discrete_value(kind: str, data: st.DataObject, u: float) -> None:
    law = data.draw(LAWS[kind])
    value = law.ppf(u)
    again = law.ppf(law.cdf(value))
    # A float cannot tell neighbours apart that differ in the last digits of their probability.
    assert identity(again) == identity(value) or abs(law.cdf(again) - law.cdf(value)) <= 4 * EPSILON


@pytest.mark.parametrize("kind", UNROUNDED)
@given(data=st.data(), u=st.floats(1e-12, 1 - 1e-12))
def test_cdf_inverts_ppf_of_a_continuous_distribution(kind: str, data: st.DataObject, u: float) -> None:
    law = data.draw(LAWS[kind])
    value = law.ppf(u)
    if value in (0.0, 1.0):  # the value of a beta is closer to its bound than the smallest float
        return
    # If the density is steep, near the bound of a beta, the next float can differ much in probability.
    below, above = law.cdf(math.nextafter(value, -math.inf)), law.cdf(math.nextafter(value, math.inf))
    assert below - 1e-8 <= u <= above + 1e-8


@pytest.mark.parametrize("kind", NUMERIC)
@given(data=st.data(), u=unit, v=unit)
def test_ppf_of_numbers_is_monotone(kind: str, data: st.DataObject, u: float, v: float) -> None:
    law = data.draw(LAWS[kind])
    assert law.ppf(min(u, v)) <= law.ppf(max(u, v)) or math.isclose(law.ppf(u), law.ppf(v), rel_tol=1e-12)


@pytest.mark.parametrize("kind", UNROUNDED)
@given(data=st.data(), u=unit)
def test_values_are_within_the_bounds(kind: str, data: st.DataObject, u: float) -> None:
    law = data.draw(LAWS[kind])
    assert isinstance(law, Continuous)
    low, high = law.bounds
    assert low <= law.ppf(u) <= high


@pytest.mark.parametrize("kind", NUMERIC)
@given(data=st.data(), u=unit)
def test_numbers_are_finite_python_scalars(kind: str, data: st.DataObject, u: float) -> None:
    law = data.draw(LAWS[kind])
    is_whole = kind == "int_uniform" or isinstance(getattr(law, "q", 1.0), int)
    value = law.ppf(u)
    assert type(value) is (int if is_whole else float)
    assert math.isfinite(value)


@given(law=any_law, u=st.floats().filter(lambda u: not 0.0 <= u <= 1.0))
def test_probability_outside_zero_to_one_is_refused(law: Distribution, u: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        law.ppf(u)


@given(law=any_law, seed=st.integers())
def test_sample_uses_one_number_of_the_rng(law: Distribution, seed: int) -> None:
    rng, same = random.Random(seed), random.Random(seed)
    law.sample(rng)
    same.random()
    assert rng.random() == same.random()


@given(law=finite_laws, data=st.data())
def test_finite_distribution_numbers_its_values(law: Distribution, data: st.DataObject) -> None:
    assert law.size is not None
    index = data.draw(st.integers(0, law.size - 1))
    assert law.index_of(law.value_at(index)) == index


@given(law=finite_laws, u=unit)
def test_each_draw_of_finite_distribution_has_index(law: Distribution, u: float) -> None:
    index = law.index_of(law.ppf(u))
    assert index is not None
    assert identity(law.value_at(index)) == identity(law.ppf(u))


@given(law=grid_laws, data=st.data())
def test_grid_numbers_its_values(law: Distribution, data: st.DataObject) -> None:
    assert law.grid_size is not None
    index = data.draw(st.integers(0, law.grid_size - 1))
    assert law.grid_index(law.grid_value(index)) == index


@given(law=grid_laws)
def test_index_outside_the_grid_is_refused(law: Distribution) -> None:
    assert law.grid_size is not None
    for index in (-1, law.grid_size):
        with pytest.raises(IndexError):
            law.grid_value(index)


@given(law=grid_laws, data=st.data())
def test_value_is_recognised_after_a_json_round_trip(law: Distribution, data: st.DataObject) -> None:
    assert law.grid_size is not None
    index = data.draw(st.integers(0, law.grid_size - 1))
    assert law.grid_index(json.loads(json.dumps(law.grid_value(index)))) == index


def test_only_distributions_that_wandb_allows_have_a_grid() -> None:
    allowed = {kind for kind, cls in DISTRIBUTIONS.items() if cls.grid_size is not Distribution.grid_size}
    assert allowed == {"constant", "categorical", "int_uniform", "q_uniform"}
