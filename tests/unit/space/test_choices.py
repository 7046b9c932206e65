from __future__ import annotations

from typing import Any

import pytest

from smsweep.space.distributions import Categorical, CategoricalWithProbabilities, Constant


def test_value_listed_twice_is_one_grid_cell() -> None:
    law = Categorical(values=(1, 2, 1.0, 2))
    assert [law.grid_value(i) for i in range(law.grid_size or 0)] == [1, 2]


def test_value_listed_twice_is_drawn_twice_as_often() -> None:
    law = Categorical(values=("a", "b", "a"))
    assert [law.ppf(u) for u in (0.1, 0.5, 0.9)] == ["a", "b", "a"]


def test_ppf_gives_the_first_value_at_zero_and_the_last_at_one() -> None:
    law = Categorical(values=("a", "b", "c"))
    assert (law.ppf(0.0), law.ppf(1.0)) == ("a", "c")


@pytest.mark.parametrize(("value", "index"), [(1, 0), (True, 1), ("1", 2), (None, 3), (0, None), (1.5, None)])
def test_similar_values_are_distinguished(value: Any, index: int | None) -> None:
    assert Categorical(values=(1, True, "1", None)).index_of(value) == index


def test_dict_matches_with_extra_keys() -> None:
    law = Categorical(values=({"depth": 1}, {"depth": 2, "width": 8}))
    assert law.index_of({"width": 8, "added": True, "depth": 2}) == 1


def test_dict_with_a_key_of_another_listed_dict_does_not_match() -> None:
    law = Categorical(values=({"depth": 1}, {"depth": 2, "width": 8}))
    assert law.index_of({"depth": 1, "width": 8}) is None


def test_value_with_probability_zero_is_never_drawn() -> None:
    law = CategoricalWithProbabilities(values=("a", "b", "c"), probabilities=(0.0, 1.0, 0.0))
    assert {law.ppf(u) for u in (0.0, 0.5, 1.0)} == {"b"}
    assert law.size == 1


def test_sum_of_probabilities_below_one_gives_the_last_value() -> None:
    law = CategoricalWithProbabilities(values=(1, 2, 3), probabilities=(0.333333, 0.333333, 0.333333))
    assert law.ppf(0.9999999) == 3


def test_constant_matches_any_value() -> None:
    assert Constant(value=1).grid_index("something else") == 0


def test_equal_arguments_make_equal_distributions() -> None:
    assert Categorical(values=(1, [2])) == Categorical(values=(1, [2]))
    assert Categorical(values=(1, [2])) != Categorical(values=([2], 1))
