"""Build the report: one HTML file with all its data, which needs no network and cannot use it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from smsweep.report.browser_text import exact
from smsweep.report.figures.registry import FIGURES
from smsweep.report.sections import environment, facts, head
from smsweep.report.snapshot import Snapshot, metric_names

SCRIPTS = ("theme.js", "figures.js", "trial_table.js", "report.js")
FIRST, LAST = ("number", "state"), ("reason",)  # columns shown by default, around the objective and the params


def static(name: str) -> str:
    """Return a style sheet or script of the page."""
    return (resources.files("smsweep.report") / "static" / name).read_text(encoding="utf-8")


def page(snapshot: Snapshot, columns: list[str], rows: Sequence[Mapping[str, Any]], plotly_js: str) -> str:
    """Return the report as HTML.

    Args:
        snapshot: The sweep.
        columns: Columns of the exported table.
        rows: Rows of the exported table.
        plotly_js: Source of the plotting library.
    """
    names = [name for name in FIGURES if name != "front" or len(metric_names(snapshot.sweep)) > 1]
    has_several = bool(snapshot.sweep["metrics"])
    goals = [f"metrics.{name}" for name in metric_names(snapshot.sweep)] if has_several else ["objective"]
    goals = [name for name in goals if name in columns]
    usual = [*FIRST, *goals, *(name for name in columns if name.startswith("params.")), *LAST]
    columns = [*usual, *(name for name in columns if name not in usual)]
    data = {
        "sweep_id": snapshot.sweep["id"],
        "columns": columns,
        "rows": [[exact(row.get(name)) for name in columns] for row in rows],
        "usual": usual,
        "goals": goals,
        "figures": {name: FIGURES[name].make(snapshot) for name in names},
    }
    scripts = [plotly_js, *map(static, SCRIPTS)]
    has_stops = any(trial["state"] == "stopped" for trial in snapshot.trials)
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        head(
            f"{snapshot.sweep['name'] or snapshot.sweep['id']}: sweep report",
            policy(scripts),
            static("smsweep.css"),
        ),
        "<body>",
        '<a class="skip" href="#trials">Skip to the table of trials</a>',
        facts(snapshot),
        _contents(names, has_stops=has_stops),
        "<main>",
        *(_figure(name) for name in names),
        _section("trials", "Trials", "All trials, with the values of smsweep export."),
        _section("stops", "Early stops", "Trials that a stopping rule stopped, and why.") if has_stops else "",
        environment(snapshot),
        "</main>",
        "<dialog aria-label='trial'></dialog>",
        f'<script type="application/json" id="smsweep-data">{embedded(data)}</script>',
        *(f"<script>{script}</script>" for script in scripts),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part)


def policy(scripts: Iterable[str]) -> str:
    """Return a Content-Security-Policy that allows only these scripts, and no requests.

    It allows eval, because Plotly's WebGL layer, which draws parallel coordinates, compiles code for its shaders.
    """
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def embedded(value: Any) -> str:
    """Return JSON that is safe anywhere in HTML: no text in it can end the surrounding element."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), default=str, allow_nan=False)
    return re.sub(r"[<>&]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _contents(names: list[str], *, has_stops: bool) -> str:
    targets = [(name, FIGURES[name].title) for name in names]
    targets += [("trials", "Trials"), *([("stops", "Early stops")] if has_stops else ()), ("config", "Config")]
    links = "".join(f'<li><a href="#{name}-section">{escape(title)}</a></li>' for name, title in targets)
    return f'<nav aria-label="contents"><ul>{links}</ul></nav>'


def _figure(name: str) -> str:
    kind = FIGURES[name]
    return (
        f'<section id="{name}-section"><h2>{escape(kind.title)}</h2><p class="soft">{escape(kind.about)}</p>'
        f'<div class="figure" data-figure="{name}" role="figure" aria-label="{escape(kind.title)}"></div>'
        "</section>"
    )


def _section(name: str, title: str, about: str) -> str:
    return (
        f'<section id="{name}-section"><h2>{escape(title)}</h2><p class="soft">{escape(about)}</p>'
        f'<div id="{name}"></div></section>'
    )


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
