"""Values as cells of a table in a browser."""

from __future__ import annotations

from typing import Any

MOST_EXACT = 2**53  # beyond it a browser's numbers skip some


def exact(value: Any) -> Any:
    """Return a cell as a browser can show it: of integers too large for it the digits."""
    is_large = isinstance(value, int) and abs(value) > MOST_EXACT
    return str(value) if is_large else value
