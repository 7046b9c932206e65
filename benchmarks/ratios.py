"""Store for the numbers of all benchmarks. `benchmarks.brief` compares them with docs/measurements.md."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "SMSWEEP_BENCH_RATIOS"  # path of a file; if unset, nothing is stored
PAGE = Path(__file__).parents[1] / "docs" / "measurements.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A documented number, and the values of a short benchmark with which it still holds."""

    quantity: str
    link: str  # Markdown link to the section
    documented: str  # text in the section
    low: float
    high: float


def leave(what: str, peer: str, ours: float, theirs: float) -> None:
    """Store a comparison. ours, theirs: the same quantity; lower is better."""
    _append({"what": what, "peer": peer, "ours": ours, "theirs": theirs})
    if theirs:
        keep(f"{what} / {peer}", ours / theirs)


def keep(quantity: str, value: float) -> None:
    """Store a number that docs/measurements.md can document."""
    _append({"quantity": quantity, "value": value})


def checks(page: str) -> list[Check]:
    """Return the rows of the table of checked numbers in the text of docs/measurements.md."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.partition("| quantity |")[2].splitlines()[2:]
        if line.startswith("|")
    ]
    return [
        Check(quantity=quantity, link=link, documented=documented, low=float(low), high=float(high))
        for quantity, link, documented, low, high in rows
    ]


def outdated(documented: Sequence[Check], measured: Mapping[str, float]) -> list[str]:
    """Return a message for each documented number that no longer holds, or that was not measured."""
    messages = []
    for check in documented:
        place = f"{check.quantity}: {check.link} has {check.documented!r}"
        value = measured.get(check.quantity)
        if value is None:
            messages.append(f"{place}, but no benchmark measured it")
        elif not check.low <= value <= check.high:
            messages.append(
                f"{place}, which no longer holds: measured {value:.4g}, not {check.low:g} to {check.high:g}"
            )
    return messages


def _append(row: Mapping[str, object]) -> None:
    if file := os.environ.get(VARIABLE):
        with Path(file).open("a", encoding="utf-8") as lines:
            print(json.dumps(row), file=lines)
