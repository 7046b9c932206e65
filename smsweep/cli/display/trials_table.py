"""The table of trials, and its order."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from smsweep.cli.display.agent_log import first_line
from smsweep.cli.output import print_message, wide_table
from smsweep.cli.text import cell, clean, duration, pairs
from smsweep.core.json_documents import SweepDocument, TrialFields
from smsweep.errors import UsageError
from smsweep.services.views import json_views

MAX_NAMED = 3  # names of columns that did not fit


def sort_trials(trials: Sequence[TrialFields], by: str, sweep: SweepDocument) -> list[TrialFields]:
    """Sort trials by a value, ascending. Trials without a value come last.

    Args:
        trials: Trials, as `json_views.trial_data` returns them.
        by: A field of a trial, a param or a metric, with or without the prefix `params.` or `metrics.`. A leading
            "-" reverses the order. "objective" and metrics with a goal sort the best first.
        sweep: The sweep, as `json_views.show` returns it.

    Raises:
        UsageError: If no trial has such a value.
    """
    name, is_descending = by.removeprefix("-"), by.startswith("-")
    goals = {f"metrics.{metric['name']}": metric["goal"] for metric in sweep["metrics"]}
    if sweep["metric"]:
        goals |= dict.fromkeys(("objective", f"metrics.{sweep['metric']['name']}"), sweep["metric"]["goal"])
    metric = f"metrics.{name}"  # unless a param or a field has the name
    is_metric = metric in goals and not any(
        name in trial or name in json_views.flat_params(trial["params"]) for trial in trials
    )
    if goals.get(metric if is_metric else name) == "maximize":
        is_descending = not is_descending
    known: dict[str, None] = {}
    keyed: list[tuple[Any, TrialFields]] = []
    without: list[tuple[Any, TrialFields]] = []
    for trial in trials:
        columns = sortable(trial)
        known |= dict.fromkeys(columns)
        value = columns.get(name)
        is_sortable = value is not None and value == value  # NaN is not
        (keyed if is_sortable else without).append((value, trial))
    if trials and name not in known:
        raise UsageError(f"--sort: no trial has {name!r}; use one of {', '.join(known)}")
    keyed.sort(key=lambda pair: (isinstance(pair[0], str), pair[0]), reverse=is_descending)
    return [trial for _, trial in [*keyed, *without]]


def sortable(trial: TrialFields) -> dict[str, Any]:
    """Return the values of a trial that can be sorted, by name. Other types than numbers are text."""
    params = json_views.flat_params(trial["params"])
    fields = {name: value for name, value in trial.items() if name not in ("params", "metrics")}
    columns = {
        **{f"metrics.{name}": value for name, value in trial["metrics"].items()},
        **{f"params.{name}": value for name, value in params.items()},
        **trial["metrics"],
        **params,
        **fields,
    }
    return {
        name: value if isinstance(value, (int, float, str, type(None))) else str(value)
        for name, value in columns.items()
    }


def trials_table(trials: Sequence[TrialFields], sweep: SweepDocument, *, err: bool = False) -> None:
    """Print number, state, objective or metrics, time, params and reason of each trial, with the best marked.

    A terminal shows params with the same value in all trials once, below the table.
    """
    best = {sweep["best"]["number"]} if sweep["best"] else set(sweep["front"])
    row_of_best = next(
        (row for row, trial in enumerate(trials) if sweep["best"] and trial["number"] in best), None
    )
    metrics = [metric["name"] for metric in sweep["metrics"]]
    params = [json_views.flat_params(trial["params"]) for trial in trials]
    names = list(dict.fromkeys(name for row in params for name in row))
    same: dict[str, Any] = {}
    if (sys.stderr if err else sys.stdout).isatty() and len(trials) > 1:
        same = {name: params[0][name] for name in names if all(_is_same(row, params[0], name) for row in params)}
        names = [name for name in names if name not in same]
    has_retries = any(trial["attempt"] for trial in trials)
    has_repeats = any(trial["confirms"] is not None for trial in trials)
    has_reason = any(trial["reason"] for trial in trials)
    has_infeasible = any(trial["infeasible"] for trial in trials)
    has_places = any(trial["place_name"] for trial in trials)
    rows = [
        [
            f"{trial['number']}{'*' if trial['number'] in best else ''}",
            trial["state"],
            *([trial["metrics"].get(name) for name in metrics] or [trial["objective"]]),
            duration(trial["started_at"], trial["ended_at"]),
            *([trial["attempt"] + 1] if has_retries else ()),
            *([trial["confirms"]] if has_repeats else ()),
            *([trial["place_name"]] if has_places else ()),
            *([trial["infeasible"]] if has_infeasible else ()),
            *(values.get(name) for name in names),
            *([first_line(trial["reason"])] if has_reason else ()),
        ]
        for trial, values in zip(trials, params, strict=True)
    ]
    retried = ["attempts"] if has_retries else []
    repeated = ["repeat of"] if has_repeats else []
    placed = ["place"] if has_places else []
    placed += ["infeasible"] if has_infeasible else []
    columns = ["trial", "state", *(metrics or ["objective"]), "time", *retried, *repeated, *placed, *names]
    columns += ["reason"] if has_reason else []
    hidden = wide_table(columns, rows, first=3, last=int(has_reason), best=row_of_best, err=err)
    if same:
        print_message(f"same in all trials: {pairs(same)}")
    if hidden:
        others = f" and {len(hidden) - MAX_NAMED} more" if hidden[MAX_NAMED:] else ""
        named = ", ".join(map(clean, hidden[:MAX_NAMED]))
        print_message(f"columns left out: {named}{others}; show all with: smsweep trials {sweep['id']} | less -S")


def _is_same(a: dict[str, Any], b: dict[str, Any], name: str) -> bool:
    return name in a and name in b and cell(a[name]) == cell(b[name])
