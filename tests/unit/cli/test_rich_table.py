from __future__ import annotations

import pytest

from smsweep.cli.display.rich_table import GAP, fit


def test_fitting_columns_keep_their_width() -> None:
    assert fit([5, 8, 9], 30, first=1) == {0: 5, 1: 8, 2: 9}


def test_long_columns_are_cut_before_any_is_left_out() -> None:
    assert fit([5, 200, 9], 40, first=1) == {0: 5, 1: 22, 2: 9}


def test_columns_are_left_out_from_the_right_between_the_ends() -> None:
    assert list(fit([5, 8, 12, 12, 12, 50], 50, first=2, last=1)) == [0, 1, 2, 5]


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_optional_columns_never_exceed_the_width(width: int) -> None:
    wide = fit([6] + [30] * 40, width, first=1)
    assert sum(wide.values()) + GAP * (len(wide) - 1) <= width


def test_required_columns_are_kept() -> None:
    assert list(fit([20, 20, 20], 10, first=2, last=1)) == [0, 1, 2]
