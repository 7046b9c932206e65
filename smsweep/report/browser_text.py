"""Values as cells of a table in a browser."""

from __future__ import annotations

import html
from typing import Any

MOST_EXACT = 2**53  # beyond it a browser's numbers skip some


def exact(value: Any) -> Any:
    """Return a cell as a browser can show it: of integers too large for it the digits."""
    is_large = isinstance(value, int) and abs(value) > MOST_EXACT
    return str(value) if is_large else value


def plain(text: str) -> str:
    """Return text that Plotly shows as it is: no tags, no links, no `%{...}` to fill in, no formulas."""
    return html.escape(text, quote=False).replace("%{", "%&#123;").replace("$", "&#36;")
