from __future__ import annotations

import pytest

from smsweep.cli.display.rich_table import GAP, fit


def test_what_fits_stays_as_it_is() -> None:
    assert fit([5, 8, 9], 30, first=1) == {0: 5, 1: 8, 2: 9}


def test_long_columns_are_cut_before_one_has_to_go() -> None:
    assert fit([5, 200, 9], 40, first=1) == {0: 5, 1: 22, 2: 9}


def test_columns_go_from_the_right_and_the_ends_stay() -> None:
    assert list(fit([5, 8, 12, 12, 12, 50], 50, first=2, last=1)) == [0, 1, 2, 5]


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_columns_that_may_go_never_make_a_table_too_wide(width: int) -> None:
    wide = fit([6] + [30] * 40, width, first=1)
    assert sum(wide.values()) + GAP * (len(wide) - 1) <= width


def test_what_must_stay_stays() -> None:
    assert list(fit([20, 20, 20], 10, first=2, last=1)) == [0, 1, 2]
