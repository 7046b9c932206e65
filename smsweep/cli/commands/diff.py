"""`smsweep diff`: compare two trials or two sweeps."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from smsweep.cli.options import Json, complete_id, whole_id
from smsweep.cli.output import print_json, print_result, table
from smsweep.cli.text import clean
from smsweep.core.json_documents import DiffDocument, DifferenceDocument, SourceDifferenceDocument
from smsweep.services.views import diff as diff_service

DIFF_EXAMPLES = """
smsweep diff abcd1234/3 abcd1234/7
smsweep diff abcd1234 efgh5678
smsweep diff abcd1234 efgh5678 --stat
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
COLOURS = {"+": "green", "-": "red", "@": "cyan"}
LETTERS = {"added": "A", "removed": "D", "changed": "M", "mode": "M"}  # as in git
One = Annotated[
    str,
    typer.Argument(
        metavar="A", callback=whole_id, autocompletion=complete_id, help="A sweep, or a trial: ID or ID/N."
    ),
]
Other = Annotated[
    str,
    typer.Argument(
        metavar="B", callback=whole_id, autocompletion=complete_id, help="Another sweep or trial, like A."
    ),
]


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
    created them, and the source file by file. For sweeps, params and metrics are those of the best trials.
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
        n_left = len(sections[section]) - MAX_ROWS
        if n_left > 0:
            rows.append((f"{title}: {n_left} more; see --json", "", "", ""))
    if rows:
        table(("", comparison["a"], comparison["b"], "change"), rows)
    what = ", ".join(
        f"{comparison['same'][section]} {section}"
        for section in ("params", "metrics")
        if comparison["same"][section]
    )
    if what:
        print_result(f"the same: {what}")


def _change(pair: DifferenceDocument) -> str:
    """Return the change of a number, absolute and relative to the first value."""
    if "delta" not in pair:
        return ""
    share = f" ({pair['delta'] / abs(pair['a']):+.1%})" if pair["a"] else ""
    return f"{pair['delta']:+.6g}{share}"


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
