"""`smsweep report`: write a sweep as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smsweep.cli.options import Json, SweepId
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.services import labels
from smsweep.services import report as reporting

EXAMPLES = """
smsweep report abcd1234
smsweep report abcd1234 -o sweep.html
"""


def report(
    sweep_id: SweepId,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The file to write (default: ID.html in this folder)."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a sweep as one HTML file that opens offline.

    Contains history, importance, parallel coordinates, slices, contours, learning curves, timeline, costs, and a
    table of all trials to sort and filter. Secrets are masked. Needs the extra `report`.
    """
    output = output or Path(f"{labels.parse_sweep_id(sweep_id)}.html")
    reporting.write(reporting.report(sweep_id), output)
    print_json({"file": str(output)}) if as_json else print_result(str(output))
    print_message("open the file in a browser; it needs no network")
