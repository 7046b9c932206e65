"""`smsweep trials` and `best`: the trials of a sweep, and the best of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from smsweep.cli.display.trials_table import sort_trials, trials_table
from smsweep.cli.options import Json, NewestSweepId, complete_from
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.cli.text import STATES, cell, clean, pairs
from smsweep.core.repeats import mean_text
from smsweep.errors import NotFound, UsageError
from smsweep.services.views import json_views, model_download

TRIALS_EXAMPLES = """
smsweep trials abcd1234
smsweep trials abcd1234 --state failed --state crashed
smsweep trials abcd1234 --sort objective
smsweep trials abcd1234 --sort -lr --json
smsweep trials abcd1234 --sort objective --limit 10
"""

TERMINAL_LIMIT = 100  # trials
BEST_EXAMPLES = """
smsweep best abcd1234
smsweep best abcd1234 --download model
smsweep best abcd1234 --json
"""


def trials(
    sweep_id: NewestSweepId = "",
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
            help="Sort by number, a param or another column; by objective or a metric with a goal: best first. "
            "-NAME reverses.",
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
    sweep = json_views.show(sweep_id)
    chosen = [trial for trial in json_views.list_trials(sweep_id) if not state or trial["state"] in state]
    every = sort_trials(chosen, sort, sweep)
    if limit is None and sys.stdout.isatty() and not as_json:
        limit = TERMINAL_LIMIT
    chosen = every[:limit] if limit else every
    if as_json:
        print_json(chosen)
        return
    if not chosen:
        print_message(
            "no such trial" + f" yet; run trials with: smsweep agent {sweep['id']}" * (sweep["state"] == "running")
        )
        return
    trials_table(chosen, sweep)
    if len(chosen) < len(every):
        print_message(f"{len(chosen)} of {len(every)} trials shown; show all with --limit 0")


def check_states(states: Iterable[str]) -> None:
    for state in states:
        if state not in STATES:
            raise UsageError(f"--state: {state!r} is not a trial state; use one of {', '.join(STATES)}")


def best(
    sweep_id: NewestSweepId = "",
    download: Annotated[
        Path | None,
        typer.Option("--download", metavar="DIR", help="Download the model of the trial into a new folder."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the best trial and its params.

    Compares the best value of the sweep's metric that each trial reported. Failed and crashed trials do not
    count, and neither do trials that violate an outcome constraint of job.yaml. After `smsweep confirm`, compares
    the expected values that the repeats show, and prints their mean with its 95 % confidence interval. For a sweep
    with several metrics, shows the Pareto front.
    """
    sweep = json_views.show(sweep_id)
    if sweep["metrics"]:
        show_front(sweep["id"], download, as_json=as_json)
        return
    metric, trial = sweep["metric"], sweep["best"]
    if metric is None:
        raise UsageError(
            f"sweep {sweep['id']} has no metric, so it has no best trial; "
            "add a metric to the sweep YAML, such as metric: {name: loss, goal: minimize}"
        )
    if trial is None and sweep["outcome_constraints"]:
        raise NotFound(
            f"no trial of sweep {sweep['id']} has reported {metric['name']!r} and meets the outcome constraints: "
            f"{'; '.join(sweep['outcome_constraints'])}; see all values with: smsweep trials {sweep['id']}"
        )
    if trial is None:
        raise NotFound(
            f"no trial of sweep {sweep['id']} has reported a number as {metric['name']!r} (text, NaN and "
            "infinities are not numbers; failed and crashed trials do not count); see all reported values with: "
            f"smsweep trials {sweep['id']} --json"
        )
    if download is not None:
        model_download.download_model(sweep["id"], trial["number"], download)
        print_message(f"the model is in {download}")
    if as_json:
        print_json(trial)
        return
    value = f"{clean(metric['name'])}={cell(trial['objective'])}"
    print_result("  ".join(filter(None, (f"{sweep['id']}/{trial['number']}", value, mean_text(trial)))))
    print_result(pairs(json_views.flat_params(trial["params"])))


def show_front(sweep_id: str, download: Path | None, *, as_json: bool) -> None:
    """Show the trials on the Pareto front.

    Args:
        sweep_id: The sweep.
        download: The folder for the models, one folder per trial; None to download nothing.
        as_json: Print JSON.

    Raises:
        NotFound: If no trial has values of all metrics yet, without as_json.
    """
    trials = json_views.front(sweep_id)
    if not trials and not as_json:
        raise NotFound(
            f"no trial of sweep {sweep_id} has values of all metrics yet; failed and crashed trials do not count"
        )
    if download is not None:
        for trial in trials:
            model_download.download_model(sweep_id, trial["number"], download / str(trial["number"]))
        print_message(f"the model of trial N is in {download / 'N'}")
    if as_json:
        print_json(trials)
        return
    for trial in trials:
        print_result(f"{sweep_id}/{trial['number']}  {pairs(trial['outcome'])}")
        print_result(f"  {pairs(json_views.flat_params(trial['params']))}")
