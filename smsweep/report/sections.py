"""The text sections of a report: config, result and origin of the sweep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from smsweep.core.trial import flat_params
from smsweep.report.snapshot import Snapshot
from smsweep.util.terminal_text import clean

REASONS = 3  # failure reasons that are shown


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
    expected = f" of {sweep['expected_trial_count']}" if sweep["expected_trial_count"] is not None else ""
    metrics = sweep["metrics"] or ([sweep["metric"]] if sweep["metric"] else [])
    best = sweep["best"]
    usage = sweep["usage"]
    pairs = [
        ("state", sweep["state"]),
        ("method", f"{sweep['method']}, seed {sweep['seed']}"),
        ("metric", "; ".join(f"{metric['name']}, {metric['goal']}" for metric in metrics)),
        ("trials", f"{sum(sweep['trials'].values())}{expected}: {states}"),
        ("best", f"{best['objective']:.6g}, trial {best['number']}" if best else ""),
        ("front", f"{len(snapshot.front)} trials" if snapshot.front else ""),
        ("jobs", _used(usage, "hours", "{:.3g}", " instance hours")),
        ("cost", _used(usage, "usd", "${:.2f}")),
        ("created", (sweep["created_at"] or "")[:19]),
        ("report time", snapshot.made_at.isoformat()[:19]),
    ]
    wide = [("best params", _pairs(flat_params(best["params"])) if best else "")]
    wide += [
        (
            "failures",
            "; ".join(f"{each['trials']} × {clean(each['reason'])}" for each in sweep["failures"][:REASONS]),
        )
    ]
    name = clean(sweep["name"] or sweep["id"])
    return (
        f'<header class="page"><h1>{escape(name)} <span class="soft">{escape(sweep["id"])}</span></h1>'
        f'<button type="button" id="theme">theme</button></header>{_list(pairs, wide)}'
    )


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
    shown = "".join(
        f"<div{kind}><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>"
        for kind, name, value in cards
        if value
    )
    return f'<dl class="facts">{shown}</dl>'


def _text(title: str, text: str) -> str:
    is_open = " open" if title == "sweep.yaml" else ""
    return (
        f"<details{is_open}><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>" if text else ""
    )
