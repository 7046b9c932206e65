"""`smsweep trials`: the trials of a sweep as a table or JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from smsweep.cli.display.trials_table import sort_trials, trials_table
from smsweep.cli.options import Json, SweepId, one_of
from smsweep.cli.output import answer_json, say
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

ON_A_TERMINAL = 100  # trials


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
    shown = json_views.show(sweep_id)
    chosen = [trial for trial in json_views.list_trials(sweep_id) if not state or trial["state"] in state]
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
