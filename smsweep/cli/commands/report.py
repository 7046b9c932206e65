"""`smsweep report`: a sweep as one HTML file to look at and to send."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smsweep.cli.options import Json, SweepId
from smsweep.cli.output import answer, answer_json, say
from smsweep.services import labels
from smsweep.services import report as reporting

EXAMPLES = """
smsweep report abcd1234
smsweep report abcd1234 -o sweep.html
"""


def report(
    sweep_id: SweepId,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: ID.html in this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a sweep as one HTML file that opens offline.

    History, importance, parallel coordinates, slices, contours, learning curves, timeline, costs, and every trial
    in a table to sort and filter. Secrets are masked. Needs the extra `report`.
    """
    output = output or Path(f"{labels.parse_sweep_id(sweep_id)}.html")
    reporting.write(reporting.report(sweep_id), output)
    answer_json({"file": str(output)}) if as_json else answer(str(output))
    say("open it in a browser; it needs no network")
