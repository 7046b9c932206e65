from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from smsweep.space.distribution import identity

NAN = float("nan")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, 1.0),
        (0, -0.0),
        (3_000_000, 3e6),
        (NAN, float("nan")),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
        ([NAN], [float("nan")]),
        (date(2024, 1, 2), date(2024, 1, 2)),
    ],
)
def test_equal_values_have_equal_keys(a: Any, b: Any) -> None:
    assert identity(a) == identity(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, True),
        (0, False),
        (1, "1"),
        (None, "null"),
        ([1], (1,)),
        ([1], [1.0]),
        ([0.0], [-0.0]),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, [["a", 1]]),
        (0.1, 0.10000000000000002),
        (date(2024, 1, 2), "2024-01-02"),
        ({}, []),
    ],
)
def test_different_values_have_different_keys(a: Any, b: Any) -> None:
    assert identity(a) != identity(b)
