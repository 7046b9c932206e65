"""`smsweep diff` and `reproduce`: compare trials or sweeps, and run an ended trial again."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from smsweep.api import api
from smsweep.cli.display.agent_log import FailureTally
from smsweep.cli.options import Backend, Json, Quiet, TrialLabel, Verbose, complete_id, whole_id
from smsweep.cli.output import print_json, print_message, print_result, table, wide_table
from smsweep.cli.run_agent import EXIT_CODES, open_display
from smsweep.cli.text import agent_command, clean, counted
from smsweep.core.json_documents import (
    DiffDocument,
    DifferenceDocument,
    ReproductionDocument,
    SourceDifferenceDocument,
)
from smsweep.core.trial import Trial
from smsweep.engine.agent_state import AgentResult
from smsweep.services import reproduce as reproduce_service
from smsweep.services.agents import run_agent
from smsweep.services.views import diff as diff_service
from smsweep.services.views import json_views, watcher

DIFF_EXAMPLES = """
smsweep diff abcd1234/3 abcd1234/7
smsweep diff abcd1234 efgh5678
smsweep diff abcd1234 efgh5678 --stat
smsweep diff abcd1234@1 abcd1234@2
smsweep diff abcd1234/3 efgh5678/0 --json
"""

SECTIONS = {
    "facts": "",
    "params": "params",
    "metrics": "metrics",
    "config": "sweep.yaml",
    "job": "job.yaml",
    "request": "request",
    "environment": "created with",
}
MAX_ROWS = 12  # of one section
MAX_SHARE = 2.0  # larger changes are not shown as a percentage, which is hard to read
COLOURS = {"+": "green", "-": "red", "@": "cyan"}
LETTERS = {"added": "A", "removed": "D", "changed": "M", "mode": "M"}  # as in git
One = Annotated[
    str,
    typer.Argument(
        metavar="A",
        callback=whole_id,
        autocompletion=complete_id,
        help="A sweep, a trial or a revision: ID, ID/N or ID@N.",
    ),
]
Other = Annotated[
    str,
    typer.Argument(
        metavar="B",
        callback=whole_id,
        autocompletion=complete_id,
        help="Another sweep, trial or revision, like A.",
    ),
]
REPRODUCE_EXAMPLES = """
smsweep reproduce abcd1234/7
smsweep reproduce abcd1234/7 --backend docker
smsweep reproduce abcd1234/7 --tolerance 0 --json
"""
MAX_FACTS = 12
DIFFERENT = 1  # the exit code


def diff(
    a: One,
    b: Other,
    stat: Annotated[
        bool, typer.Option("--stat", help="Show the names of changed files, without their lines.")
    ] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with code 1 if A and B differ, as git diff does.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare two trials or two sweeps.

    Shows only differences: params, metrics, states, both config files, the job request, the environment that
    created them, and the source file by file. For sweeps, params and metrics are those of the best trials. A
    terminal cuts long values; --json has them.
    """
    comparison = diff_service.diff(a, b)
    if as_json:
        print_json(comparison)
    else:
        _tables(comparison)
        _source(comparison["source"], stat=stat)
    if exit_code and not comparison["is_same"]:
        raise typer.Exit(1)


def _tables(comparison: DiffDocument) -> None:
    rows: list[tuple[object, ...]] = []
    sections: Mapping[str, Any] = comparison
    for section, title in SECTIONS.items():
        for pair in sections[section][:MAX_ROWS]:
            name = f"{title}: {pair['name']}" if title else pair["name"]
            rows.append((name, pair.get("a"), pair.get("b"), _change(pair)))
        n_more = len(sections[section]) - MAX_ROWS
        if n_more > 0:
            rows.append((f"{title}: {n_more} more; see --json", "", "", ""))
    if rows:
        columns = ("", comparison["a"], comparison["b"], "change")
        wide_table(columns, rows, first=len(columns), last=0)
    what = ", ".join(
        counted(comparison["same"][f"{unit}s"], unit)
        for unit in ("param", "metric")
        if comparison["same"][f"{unit}s"]
    )
    if what:
        print_result(f"the same: {what}")


def _change(pair: DifferenceDocument) -> str:
    """Return the change of a number, absolute and relative to the first value."""
    if "delta" not in pair:
        return ""
    share = pair["delta"] / abs(pair["a"]) if pair["a"] else 0.0
    return f"{pair['delta']:+.6g}" + (f" ({share:+.1%})" if 0 < abs(share) <= MAX_SHARE else "")


def _source(source: SourceDifferenceDocument, *, stat: bool) -> None:
    if source["is_same"]:
        print_result("the source is the same" if source["a"] else "neither has a source")
        return
    if source["files"] is None:
        missing = ", ".join(source["missing"])
        print_result(f"the sources differ; the changed files are unknown because {missing} is not on this machine")
        return
    for file in source["files"]:
        n_added, n_removed = _counted(file["diff"])
        counts = "binary" if file["diff"] is None else f"+{n_added} -{n_removed}"
        print_result(
            f"{LETTERS[file['change']]} {clean(file['name'])}  {'mode' if file['change'] == 'mode' else counts}"
        )
    for file in () if stat else source["files"]:
        for line in file["diff"] or ():
            colour = COLOURS.get(line[:1]) if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else None
            print_result(typer.style(clean(line), fg=colour) if colour else clean(line))


def _counted(lines: list[str] | None) -> tuple[int, int]:
    body = [line for line in lines or () if not line.startswith(("+++", "---"))]
    return sum(line.startswith("+") for line in body), sum(line.startswith("-") for line in body)


def reproduce(
    label: TrialLabel,
    backend: Backend = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance", min=0, metavar="R", help="Maximum relative difference of values (default: 0.01)."
        ),
    ] = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Run an ended trial again and compare the results.

    Uses the same source snapshot, params, configs and seed, on the same backend or on --backend, as the only trial
    of a new sweep. The exit code is 0 if both trials ended in the same state and the sweep's metrics are equal or
    within the tolerance, else 1.
    """
    again_id, name = reproduce_service.begin(label, backend=backend)
    print_message(f"{label} runs again as {again_id}/0 on {name}")
    outcome = _run(again_id, name)
    if outcome.asked_by:
        print_message(f"not compared; continue with: {agent_command(again_id, {'backend': name})}")
        raise typer.Exit(EXIT_CODES[outcome.asked_by])
    allowed = reproduce_service.TOLERANCE if tolerance is None else tolerance
    comparison = reproduce_service.finish(label, again_id, tolerance=allowed)
    if as_json:
        print_json(comparison)
    else:
        _show(comparison)
    if not reproduce_service.is_good(comparison):
        raise typer.Exit(DIFFERENT)


def _run(again_id: str, backend: str) -> AgentResult:
    sweep = api.Api().sweep(again_id).sweep
    tally = FailureTally(sweep.id, watcher.metric_name(sweep))
    with open_display(tally) as display:

        def on_change(trial: Trial) -> None:
            data = json_views.trial_data(trial, sweep)
            display.changed(data, tally.note(data))

        return run_agent.agent(again_id, backend=backend, on_change=on_change)


def _show(comparison: ReproductionDocument) -> None:
    print_result(f"{comparison['trial']} and {comparison['again']}: {comparison['verdict']}")
    state = comparison["state"]
    if state["a"] != state["b"]:
        reason = clean(comparison["reason"]["b"] or comparison["reason"]["a"])
        print_result(f"the first is {state['a']}, the second is {state['b']}: {reason}")
    if comparison["metrics"]:
        rows = [
            (each["name"], each["a"], each["b"], each.get("largest"), each["steps"], each["verdict"])
            for each in comparison["metrics"]
        ]
        table(("metric", comparison["trial"], comparison["again"], "largest difference", "steps", ""), rows)
    if not comparison["facts"]:
        print_result("their environments are the same")
        return
    print_result("differences of their environments:")
    table(
        ("", comparison["trial"], comparison["again"]),
        [(f["name"], f["a"], f["b"]) for f in comparison["facts"][:MAX_FACTS]],
    )
    if len(comparison["facts"]) > MAX_FACTS:
        print_result(f"and {len(comparison['facts']) - MAX_FACTS} more; see --json")
