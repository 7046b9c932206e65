"""Sweeps, trials and their progress as HTML for notebooks: inline styles, no scripts, light and dark themes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from smsweep.core.json_documents import TrialFields
from smsweep.core.trial import flat_params
from smsweep.report.axes import thin
from smsweep.report.figures.common import COLORS
from smsweep.util.terminal_text import clean

MOST_ROWS, MOST_PARAMS, MOST_CHARACTERS = 20, 12, 120
SPARK = (120, 20)  # pixels
# Colors are inherited from the page or half transparent, so that they suit light and dark themes.
BOX = (
    "border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:.5em .9em;margin:.3em 0;max-width:75em;"
    "font:13px/1.5 system-ui,sans-serif;color:inherit;overflow-x:auto"
)
CELL = "text-align:left;padding:.1em .8em .1em 0;vertical-align:top;font:inherit;color:inherit;background:none;"
CELL += "border:0"
TABLE = "border-collapse:collapse;border:0;margin:.3em 0;font:inherit"
SOFT = "opacity:.7"
TRACK = "background:rgba(128,128,128,.25);border-radius:4px;height:8px;margin:.3em 0;max-width:40em"
BLUE = COLORS["finished"]


def box(*parts: str) -> str:
    """Return a box around parts of HTML."""
    return f'<div style="{BOX}">{"".join(part for part in parts if part)}</div>'


def title(name: str, more: str, state: str) -> str:
    """Return a line with a name, further text and a state."""
    label = f"<strong>{escaped_text(name)}</strong> <span style='{SOFT}'>{escaped_text(more)}</span>"
    return f"<div>{label} &nbsp;{badge(state)}</div>"


def badge(state: str) -> str:
    """Return a state with a dot in its color."""
    dot = f'<span style="color:{COLORS.get(state, BLUE)}">●</span>'
    return f'<span style="white-space:nowrap">{dot} {escaped_text(state)}</span>'


def escaped_text(value: Any) -> str:
    """Return a value as escaped HTML text. Floats have 6 digits, and long text is cut."""
    if value is None or value == "":
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else clean(str(value))
    return escape(text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…")


def pairs(values: Mapping[str, Any]) -> str:
    """Return `name=value` for each value, as HTML text."""
    return " ".join(f"{escaped_text(name)}={escaped_text(value)}" for name, value in values.items())


def facts(values: Iterable[tuple[str, str]]) -> str:
    """Return names and HTML texts in two columns. Names without text are left out."""
    rows = "".join(
        f'<tr style="background:none"><td style="{CELL};{SOFT}">{escaped_text(name)}</td>'
        f'<td style="{CELL}">{text}</td></tr>'
        for name, text in values
        if text
    )
    return f'<table style="{TABLE}">{rows}</table>' if rows else ""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows of HTML texts below the names of their columns."""
    head = "".join(f'<th style="{CELL};font-weight:600">{escaped_text(name)}</th>' for name in columns)
    body = "".join(
        f'<tr style="background:none">{"".join(f"<td style={CELL!r}>{text}</td>" for text in row)}</tr>'
        for row in rows
    )
    return f'<table style="{TABLE}"><tr>{head}</tr>{body}</table>'


def trials(listed: Sequence[TrialFields], best: int | None, most: int = MOST_ROWS) -> str:
    """Return a table of trials from `views.list_trials`. best: number of the trial to mark."""
    first = listed[:most]
    params = [flat_params(trial["params"]) for trial in first]
    names = list(dict.fromkeys(name for row in params for name in row))
    if len(first) > 1:  # leave out params that are equal in all trials
        names = [name for name in names if len({str(row.get(name)) for row in params}) > 1]
    names = names[:MOST_PARAMS]
    rows = [
        [
            f"{trial['number']}{'*' if trial['number'] == best else ''}",
            badge(trial["state"]),
            escaped_text(trial["objective"]),
            *(escaped_text(values.get(name)) for name in names),
            escaped_text(trial["reason"].partition("\n")[0]),
        ]
        for trial, values in zip(first, params, strict=True)
    ]
    more = f"<div style='{SOFT}'>and {len(listed) - most} more</div>" if len(listed) > most else ""
    return table(["trial", "state", "objective", *names, "reason"], rows) + more


def bar(done: int, of: int | None) -> str:
    """Return a progress bar; "" if the total is unknown."""
    if not of:
        return ""
    share = min(100.0, 100.0 * done / of)
    filled = f"width:{share:.1f}%;background:{BLUE};border-radius:4px;height:8px"
    return f'<div style="{TRACK}" role="img" aria-label="{done} of {of}"><div style="{filled}"></div></div>'


def spark(values: Sequence[float]) -> str:
    """Return a curve as a small drawing; "" for fewer than two values. values: finite, oldest first."""
    if len(values) < 2:
        return ""
    points = thin(values, SPARK[0])
    low, high = min(values), max(values)
    scale = (high - low) or 1.0
    wide, high_px = SPARK
    drawn = " ".join(
        f"{(x - 1) / (len(values) - 1) * wide:.1f},{high_px - 1 - (y - low) / scale * (high_px - 2):.1f}"
        for x, y in points
    )
    label = f"from {values[0]:.6g} to {values[-1]:.6g}"
    return (
        f'<svg width="{wide}" height="{high_px}" viewBox="0 0 {wide} {high_px}" role="img" aria-label="{label}">'
        f'<polyline fill="none" stroke="{BLUE}" stroke-width="1.5" points="{drawn}"/></svg>'
    )
