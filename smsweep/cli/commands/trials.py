"""`smsweep trials`: list the trials of a sweep."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from smsweep.cli.display.trials_table import sort_trials, trials_table
from smsweep.cli.options import Json, SweepId, complete_from
from smsweep.cli.output import print_json, print_message
from smsweep.cli.text import STATES
from smsweep.errors import UsageError
from smsweep.services.views import json_views

EXAMPLES = """
smsweep trials abcd1234
smsweep trials abcd1234 --state failed --state crashed
smsweep trials abcd1234 --sort objective
smsweep trials abcd1234 --sort -lr --json
smsweep trials abcd1234 --sort objective --limit 10
"""

TERMINAL_LIMIT = 100  # trials


def trials(
    sweep_id: SweepId,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", autocompletion=complete_from(STATES), help="Show only trials in this state; repeatable."
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="NAME",
            help="Sort by number, objective (best first), another column, param or metric; -NAME reverses.",
        ),
    ] = "number",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=0,
            metavar="N",
            help=f"Show at most this many trials; 0 for all (default: {TERMINAL_LIMIT} on a terminal, else all).",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the trials of a sweep.

    A `*` marks the best trial. The objective is the best value of the sweep's metric that the trial reported. A
    sweep with several metrics shows the last value of each, and `*` marks the trials on the Pareto front. A
    terminal shows the columns that fit; pipes and files get all columns.
    """
    check_states(state or ())
    shown = json_views.show(sweep_id)
    chosen = [trial for trial in json_views.list_trials(sweep_id) if not state or trial["state"] in state]
    every = sort_trials(chosen, sort, shown)
    if limit is None and sys.stdout.isatty() and not as_json:
        limit = TERMINAL_LIMIT
    chosen = every[:limit] if limit else every
    if as_json:
        print_json(chosen)
        return
    if not chosen:
        print_message(
            "no such trial" + f" yet; run trials with: smsweep agent {shown['id']}" * (shown["state"] == "running")
        )
        return
    trials_table(chosen, shown)
    if len(chosen) < len(every):
        print_message(f"{len(chosen)} of {len(every)} trials shown; show all with --limit 0")


def check_states(states: Iterable[str]) -> None:
    for state in states:
        if state not in STATES:
            raise UsageError(f"--state: {state!r} is not a trial state; use one of {', '.join(STATES)}")
