"""The report as one HTML page, with its tables and sections."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from smsweep.core.json_documents import PlaceUseDocument, RevisionDocument
from smsweep.core.repeats import mean_text
from smsweep.core.sweep import changes_text
from smsweep.core.trial import ended_of, flat_params
from smsweep.report.axes import exact
from smsweep.report.figures.registry import FIGURES
from smsweep.report.snapshot import Snapshot, metric_names
from smsweep.util.clock import time_text
from smsweep.util.terminal_text import clean, counted

SCRIPTS = ("theme.js", "figures.js", "trial_table.js", "parallel.js", "dots.js", "figure_view.js", "report.js")
FIRST, LAST = ("number", "state"), ("reason",)  # columns shown by default, around the objective and the params
REASONS = 3  # failure reasons that are shown


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
    placed = ["place_name"] if snapshot.sweep["places"] else []
    placed += ["infeasible"] if any(trial["infeasible"] for trial in snapshot.trials) else []
    usual = [*FIRST, *goals, *placed, *(name for name in columns if name.startswith("params.")), *LAST]
    columns = [*usual, *(name for name in columns if name not in usual)]
    data = {
        "sweep_id": snapshot.sweep["id"],
        "columns": columns,
        "rows": [[exact(row.get(name)) for name in columns] for row in rows],
        "usual": usual,
        "goals": goals,
        "sign": snapshot.goal.sign,
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
        _section("trials", "Trials", "All trials, with the columns of smsweep export."),
        _section("stops", "Early stops", "Trials that a rule stopped, and the reasons.") if has_stops else "",
        environment(snapshot),
        "</main>",
        "<dialog aria-label='trial'></dialog>",
        f'<script type="application/json" id="smsweep-data">{embedded(data)}</script>',
        *(f"<script>{script}</script>" for script in scripts),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part)


def policy(scripts: Iterable[str]) -> str:
    """Return a Content-Security-Policy that allows only these scripts, and no requests."""
    hashes = " ".join(f"'sha256-{sha256(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
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


def sha256(script: str) -> str:
    """Return the hash of a script as a Content-Security-Policy needs it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def head(title: str, policy: str, style: str) -> str:
    """Return the head element."""
    return (
        f'<head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
    )


def facts(snapshot: Snapshot) -> str:
    """Return the header with the sweep's name, and its state, results and usage as cards."""
    sweep = snapshot.sweep
    states = ", ".join(f"{count} {state}" for state, count in sweep["trials"].items())
    metrics = sweep["metrics"] or ([sweep["metric"]] if sweep["metric"] else [])
    best = sweep["best"]
    usage = sweep["usage"]
    pairs = [
        ("state", sweep["state"]),
        ("method", f"{sweep['method']}, seed {sweep['seed']}"),
        ("metric", "; ".join(f"{metric['name']}, {metric['goal']}" for metric in metrics)),
        ("trials", f"{ended_of(sweep['trials'], sweep['expected_trial_count'])}: {states}"),
        ("best", f"{mean_text(best) or format(best['objective'], '.6g')}, trial {best['number']}" if best else ""),
        ("front", counted(len(snapshot.front), "trial") if snapshot.front else ""),
        ("jobs", _used(usage, "hours", "{:.3g}", " instance hours")),
        ("cost", _used(usage, "usd", "${:.2f}")),
        ("places", "; ".join(map(_place, sweep["places"]))),
        ("created", time_text(sweep["created_at"])),
        ("report time", time_text(snapshot.made_at)),
    ]
    wide = [("best params", _pairs(flat_params(best["params"])) if best else "")]
    wide += [
        (
            "failures",
            "; ".join(f"{each['trials']} × {clean(each['reason'])}" for each in sweep["failures"][:REASONS]),
        )
    ]
    wide += [(f"revision {each['number']}", _revision(each)) for each in sweep["revisions"][1:]]
    name = clean(sweep["name"] or sweep["id"])
    return (
        f'<header class="page"><h1>{escape(name)} <span class="soft">{escape(sweep["id"])}</span></h1>'
        f'<button type="button" id="theme">theme</button></header>{_list(pairs, wide)}'
    )


def _revision(revision: RevisionDocument) -> str:
    """Return the changes of the config, by whom and when, and the first trial that can have them."""
    made = f"by {clean(revision['changed_by'])} on {time_text(revision['changed_at'])}"
    return f"{clean(changes_text(revision['changes']))}; {made}, from trial {revision['first_number']} on"


def _place(place: PlaceUseDocument) -> str:
    return f"{clean(place['name'])}: {counted(place['ended'], 'trial')}"


def environment(snapshot: Snapshot) -> str:
    """Return the section with the sweep's config and origin, and the command that reproduces a trial."""
    sweep, origin = snapshot.sweep, snapshot.origin
    git = origin.get("git", {})
    pairs = [
        ("git commit", git.get("commit", "")),
        ("git branch", git.get("branch", "")),
        ("git remote", git.get("remote", "")),
        ("uncommitted changes", "yes, they are in the source snapshot" if git.get("is_dirty") else ""),
        ("source snapshot", sweep["source_hash"]),
        ("program", sweep["program"]),
        ("image", sweep["image"]),
        ("created with", f"smsweep {origin['smsweep']}, Python {origin['python']}" if origin else ""),
        ("platform", origin.get("platform", "")),
    ]
    command = f"smsweep reproduce {sweep['id']}/N"
    parts = [
        '<section id="config-section"><h2>Config and environment</h2>',
        f"<p>Run a trial again with the same source, params and requirements: <code>{escape(command)}</code></p>",
        _list(pairs),
        _text("sweep.yaml", snapshot.config),
        _text("job.yaml", snapshot.job),
        _text("installed packages", "\n".join(origin.get("packages", ()))),
        "</section>",
    ]
    return "".join(parts)


def _pairs(params: Mapping[str, Any]) -> str:
    texts = {name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in params.items()}
    return " ".join(f"{name}={text}" for name, text in texts.items())


def _used(usage: Mapping[str, Any], what: str, form: str, unit: str = "") -> str:
    """Return the resources used, with their budget; "" if neither is known."""
    used, cap = usage[what], usage["budget"].get(what)
    if not (used or cap):
        return ""
    jobs = f"{usage['jobs']}, " if what == "hours" else ""
    return jobs + form.format(used or 0) + (f" of {form.format(cap)}" if cap else "") + unit


def _list(pairs: Iterable[tuple[str, Any]], wide: Iterable[tuple[str, Any]] = ()) -> str:
    """Return names and values as cards. Wide cards get their own line."""
    cards = [("", name, value) for name, value in pairs] + [(' class="wide"', *each) for each in wide]
    items = "".join(
        f"<div{kind}><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>"
        for kind, name, value in cards
        if value
    )
    return f'<dl class="facts">{items}</dl>'


def _text(title: str, text: str) -> str:
    is_open = " open" if title == "sweep.yaml" else ""
    return (
        f"<details{is_open}><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>" if text else ""
    )
