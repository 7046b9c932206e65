"""One HTML file with everything in it: opens without a network, and can reach none."""

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
FIRST, LAST = ("number", "state"), ("reason",)  # columns shown at first, with the objective and params between


def static(name: str) -> str:
    """Return a file of the page's own style and scripts."""
    return (resources.files("smsweep.report") / "static" / name).read_text(encoding="utf-8")


def page(snapshot: Snapshot, columns: list[str], rows: Sequence[Mapping[str, Any]], plotly_js: str) -> str:
    """Return the report. columns, rows: the export's table. plotly_js: the plotting library's source."""
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
        '<a class="skip" href="#trials">To the table of trials</a>',
        facts(snapshot),
        _contents(names, has_stops=has_stops),
        "<main>",
        *(_figure(name) for name in names),
        _section("trials", "Trials", "Every trial, with the very numbers of smsweep export."),
        _section("stops", "Early stops", "Trials that a rule ended, and why.") if has_stops else "",
        environment(snapshot),
        "</main>",
        "<dialog aria-label='trial'></dialog>",
        f'<script type="application/json" id="smsweep-data">{embedded(data)}</script>',
        *(f"<script>{script}</script>" for script in scripts),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part)


def policy(scripts: Iterable[str]) -> str:
    """Return the Content-Security-Policy under which just these scripts run and nothing is loaded or sent.

    eval: Plotly's WebGL layer, behind parallel coordinates, compiles its own shaders' glue with it.
    """
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def embedded(value: Any) -> str:
    """Return JSON that no text in it can end early, wherever in HTML it stands."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), default=str, allow_nan=False)
    return re.sub(r"[<>&]", lambda found: f"\\u{ord(found[0]):04x}", text)


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
