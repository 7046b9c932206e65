"""Which columns of a table a terminal has room for, and how wide each may be."""

from __future__ import annotations

from collections.abc import Sequence

GAP = 2  # columns of the terminal between two of the table
WIDTHS = (60, 32, 18, 12)  # that long cells are cut to, one after the other, before a column has to go


def fit(widths: Sequence[int], width: int, *, first: int, last: int = 0) -> dict[int, int]:
    """Return the columns that fit side by side, by index, and how wide each is.

    widths: what each column would like. first, last: how many columns at either end always stay; of those between,
    the ones on the right go. A table that is too wide even so is cut at the terminal's edge.
    """
    kept = list(range(len(widths)))
    while True:
        for most in WIDTHS:
            wide = {index: min(widths[index], most) for index in kept}
            if sum(wide.values()) + GAP * (len(wide) - 1) <= width:
                return _widened(wide, widths, width)
        if len(kept) <= first + last:
            return wide
        del kept[len(kept) - last - 1]


def _widened(wide: dict[int, int], widths: Sequence[int], width: int) -> dict[int, int]:
    """Give what is left to the columns that were cut, from the right: reasons stand there."""
    room = width - sum(wide.values()) - GAP * (len(wide) - 1)
    for index in reversed(wide):
        more = min(room, widths[index] - wide[index])
        wide[index] += more
        room -= more
    return wide
