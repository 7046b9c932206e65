"""Values as text in a browser."""

from __future__ import annotations

import html
from typing import Any

MOST_EXACT = 2**53  # browsers cannot represent all larger integers


def exact(value: Any) -> Any:
    """Return a value that a browser can show; an integer that is too large for it becomes text."""
    is_large = isinstance(value, int) and abs(value) > MOST_EXACT
    return str(value) if is_large else value


def plain(text: str) -> str:
    """Return text that Plotly shows unchanged, without interpreting tags, links, `%{...}` or formulas."""
    return html.escape(text, quote=False).replace("%{", "%&#123;").replace("$", "&#36;")
