from __future__ import annotations

import pytest

from smsweep.cli.display.dashboard import sparkline


@pytest.mark.parametrize(
    ("values", "width", "line"),
    [
        ([], 5, ""),
        ([1.0], 5, "▄"),
        ([2.0, 2.0, 2.0], 5, "▄▄▄"),
        ([0.0, 7.0], 5, "▁█"),
        ([7, 6, 5, 4, 3, 2, 1, 0], 8, "█▇▆▅▄▃▂▁"),
        ([0, 0, 8, 8], 2, "▁█"),
        ([-1e308, 1e308], 4, "▄▄"),
    ],
)
def test_sparkline_is_scaled_from_lowest_to_highest(values: list[float], width: int, line: str) -> None:
    assert sparkline(values, width) == line


def test_sparkline_of_many_values_has_the_given_width() -> None:
    line = sparkline([1 / (i + 1) for i in range(5_000)], 12)
    assert len(line) == 12
    assert (line[0], line[-1]) == ("█", "▁")


def test_sparkline_in_ascii() -> None:
    assert sparkline([0, 4, 8], 8, is_ascii=True) == "_=#"
