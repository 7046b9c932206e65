from __future__ import annotations

from typing import Any

import pytest

from smsweep.errors import SpaceError
from smsweep.space.distributions import DISTRIBUTIONS

REFUSED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("categorical", {"values": ()}, "at least one value"),
    ("categorical_w_probabilities", {"values": ("a",), "probabilities": (0.5, 0.5)}, "1 values and 2 prob"),
    ("categorical_w_probabilities", {"values": (), "probabilities": ()}, "sum to 1"),
    ("categorical_w_probabilities", {"values": (1, 2), "probabilities": (0.5, 0.6)}, "got a sum of 1.1"),
    ("categorical_w_probabilities", {"values": (1, 2), "probabilities": (-0.5, 1.5)}, "at least 0, got -0.5"),
    ("categorical_w_probabilities", {"values": (1,), "probabilities": ("1",)}, "finite number as probability"),
    ("int_uniform", {"min": 3, "max": 3}, "min < max, got min 3 and max 3"),
    ("int_uniform", {"min": 1.0, "max": 3}, "whole numbers, got min 1.0"),
    ("int_uniform", {"min": True, "max": 3}, "finite number as min, got True"),
    ("uniform", {"min": 1.0, "max": 0.0}, "min < max"),
    ("uniform", {"min": "1e-5", "max": 1.0}, "finite number as min, got '1e-5'"),
    ("uniform", {"min": 0.0, "max": float("inf")}, "finite number as max, got inf"),
    ("uniform", {"min": 0, "max": 10**400}, "finite number as max"),
    ("uniform", {"min": -1.7e308, "max": 1.7e308}, "less far apart"),
    ("q_uniform", {"min": 0, "max": 9, "q": 0}, "q > 0, got 0"),
    ("q_uniform", {"min": 0, "max": 9, "q": "1"}, "finite number as q"),
    ("q_uniform", {"min": 0.0, "max": 1e17, "q": 1.0}, "larger q: 1.0 is below the rounding error"),
    ("log_uniform", {"min": 1.0, "max": 1000.0}, "use log_uniform_values"),
    ("q_log_uniform", {"min": 1.0, "max": 1000.0}, "use q_log_uniform_values"),
    ("q_log_uniform", {"min": 1.0, "max": 700.0, "q": 1e-9}, "needs a larger q"),
    ("log_uniform_values", {"min": 0, "max": 1.0}, "needs min > 0, got 0; use uniform, or raise min"),
    ("log_uniform_values", {"min": 1e300, "max": 1.0000000000000002e300}, "farther apart"),
    ("normal", {"sigma": -1.0}, "sigma of at least 0, got -1.0"),
    ("normal", {"sigma": 1e308}, "exceeds the range of floats"),
    ("log_normal", {"mu": 700.0, "sigma": 10.0}, "they describe the logarithm"),
    ("beta", {"a": 0.0}, "a > 0 and b > 0, got a 0.0"),
    ("beta", {"b": 10**19}, "exceeds the precision of floats with a 1.0 and b 1000"),
    ("q_beta", {"a": 1.7e308}, "lower them to at most 1e.08"),
)


@pytest.mark.parametrize(("kind", "arguments", "message"), REFUSED)
def test_wrong_arguments_are_refused(kind: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message) as caught:
        DISTRIBUTIONS[kind](**arguments)
    assert str(caught.value).startswith(kind)


@pytest.mark.parametrize("kind", ["normal", "q_normal", "log_normal", "q_log_normal", "beta", "q_beta"])
def test_arguments_with_a_default_in_wandb_are_optional(kind: str) -> None:
    assert 0.0 <= DISTRIBUTIONS[kind]().cdf(0.5) <= 1.0


@pytest.mark.parametrize("value", ["a", True, None, float("nan")])
def test_cdf_of_numbers_refuses_other_values(value: object) -> None:
    with pytest.raises(SpaceError, match="holds numbers"):
        DISTRIBUTIONS["normal"]().cdf(value)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("categorical", {"values": (1, 2)}),
        ("categorical_w_probabilities", {"values": (1, 2), "probabilities": (0.5, 0.5)}),
    ],
)
def test_cdf_of_listed_values_refuses_other_values(kind: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(SpaceError, match="does not list 3"):
        DISTRIBUTIONS[kind](**arguments).cdf(3)
