"""`smsweep trials`: the trials of a sweep as a table or JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from smsweep.cli.options import Json, SweepId, one_of
from smsweep.cli.output import answer_json, say, wide_table
from smsweep.cli.tally import first_line
from smsweep.cli.text import STATES, cell, clean, duration, pairs
from smsweep.errors import UsageError
from smsweep.sdk import views

EXAMPLES = """
smsweep trials abcd1234
smsweep trials abcd1234 --state failed --state crashed
smsweep trials abcd1234 --sort objective
smsweep trials abcd1234 --sort -lr --json
smsweep trials abcd1234 --sort objective --limit 10
"""

Data = dict[str, Any]
ON_A_TERMINAL = 100  # trials
MOST_NAMED = 3  # columns that had no room


def trials(
    sweep_id: SweepId,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", autocompletion=one_of(STATES), help="Only trials in this state; may be repeated."),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="NAME",
            help="By number, objective (best first), another column, a param or a metric; -NAME turns it round.",
        ),
    ] = "number",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=0,
            metavar="N",
            help=f"At most so many; 0: all. On a terminal {ON_A_TERMINAL} if not given.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List trials: state, objective, params.

    A `*` marks the best one. The objective is the best value that a trial reported of the sweep's metric; of
    several metrics it is the last value of each, and a `*` marks those that no other beats. A terminal shows the
    columns that it has room for; into a pipe or file go all of them, uncut.
    """
    check_states(state or ())
    shown = views.show(sweep_id)
    chosen = [trial for trial in views.list_trials(sweep_id) if not state or trial["state"] in state]
    every = sort_trials(chosen, sort, shown)
    if limit is None and sys.stdout.isatty() and not as_json:
        limit = ON_A_TERMINAL
    chosen = every[:limit] if limit else every
    if as_json:
        answer_json(chosen)
        return
    if not chosen:
        say("no such trial" + f" yet; to run some: smsweep agent {shown['id']}" * (shown["state"] == "running"))
        return
    trials_table(chosen, shown)
    if len(chosen) < len(every):
        say(f"these are {len(chosen)} of {len(every)}; all: --limit 0; other ones first: --sort objective")


def check_states(states: Iterable[str]) -> None:
    for state in states:
        if state not in STATES:
            raise UsageError(f"--state: {state!r} is no state of a trial; there are {', '.join(STATES)}")


def sort_trials(trials: Sequence[Data], by: str, shown: Data) -> list[Data]:
    """Return trials by ascending value; those without one come last. Raises UsageError for an unknown name.

    by: a field of a trial, a param or a metric, as shown or as `params.x`, `metrics.x`; "-" in front turns it
    round. The objective's natural order is best first, by the goal in shown (`views.show`).
    """
    name, is_descending = by.removeprefix("-"), by.startswith("-")
    if name == "objective" and shown["metric"] and shown["metric"]["goal"] == "maximize":
        is_descending = not is_descending
    known: dict[str, None] = {}
    keyed: list[tuple[Any, Data]] = []
    without: list[tuple[Any, Data]] = []
    for trial in trials:
        columns = sortable(trial)
        known |= dict.fromkeys(columns)
        value = columns.get(name)
        is_sortable = value is not None and value == value  # NaN is not
        (keyed if is_sortable else without).append((value, trial))
    if trials and name not in known:
        raise UsageError(f"--sort: no trial has {name!r}; there are {', '.join(known)}")
    keyed.sort(key=lambda pair: (isinstance(pair[0], str), pair[0]), reverse=is_descending)
    return [trial for _, trial in [*keyed, *without]]


def sortable(trial: Data) -> Data:
    """Return everything of a trial that a column can be sorted by; only numbers and text compare."""
    params = views.flat_params(trial["params"])
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


def trials_table(trials: Sequence[Data], shown: Data, *, err: bool = False) -> None:
    """Print number, state, objective or metrics, time, params and reason of each, with the sweep's best marked.

    On a terminal, params that are the same in all of them are told once, below.
    """
    best = {shown["best"]["number"]} if shown["best"] else set(shown["front"])
    row_of_best = next(
        (row for row, trial in enumerate(trials) if shown["best"] and trial["number"] in best), None
    )
    metrics = [metric["name"] for metric in shown["metrics"]]
    params = [views.flat_params(trial["params"]) for trial in trials]
    names = list(dict.fromkeys(name for row in params for name in row))
    same: Data = {}
    if (sys.stderr if err else sys.stdout).isatty() and len(trials) > 1:
        same = {name: params[0][name] for name in names if all(_is_same(row, params[0], name) for row in params)}
        names = [name for name in names if name not in same]
    has_reason = any(trial["reason"] for trial in trials)
    rows = [
        [
            f"{trial['number']}{'*' if trial['number'] in best else ''}",
            trial["state"],
            *([trial["metrics"].get(name) for name in metrics] or [trial["objective"]]),
            duration(trial["started_at"], trial["ended_at"]),
            *(values.get(name) for name in names),
            *([first_line(trial["reason"])] if has_reason else ()),
        ]
        for trial, values in zip(trials, params, strict=True)
    ]
    columns = ["trial", "state", *(metrics or ["objective"]), "time", *names, *(["reason"] if has_reason else ())]
    left_out = wide_table(columns, rows, first=3, last=int(has_reason), best=row_of_best, err=err)
    if same:
        say(f"the same in all: {pairs(same)}")
    if left_out:
        others = f" and {len(left_out) - MOST_NAMED} more columns" if left_out[MOST_NAMED:] else ""
        named = ", ".join(map(clean, left_out[:MOST_NAMED]))
        say(f"no room for {named}{others}; all: smsweep trials {shown['id']} | less -S")


def _is_same(a: Data, b: Data, name: str) -> bool:
    return name in a and name in b and cell(a[name]) == cell(b[name])
