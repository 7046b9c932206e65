"""Names and values of other people as text for Plotly, which reads some HTML in all it shows."""

from __future__ import annotations

import html


def plain(text: str) -> str:
    """Return text that Plotly shows as it is: no tags, no links, no `%{...}` to fill in, no formulas."""
    return html.escape(text, quote=False).replace("%{", "%&#123;").replace("$", "&#36;")
