"""`smsweep logs`: print the log of a trial."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from smsweep.cli.options import Label
from smsweep.cli.output import print_result
from smsweep.cli.text import clean_line
from smsweep.services.views import logs as logs_view

EXAMPLES = """
smsweep logs abcd1234/7
smsweep logs abcd1234/7 -f
smsweep logs abcd1234/7 | grep loss
smsweep logs abcd1234
"""


def logs(
    label: Label,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new lines until the job has ended.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Include the lines with which smsweep.log() reports metrics.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Print the log of a trial.

    Prints stdout and stderr of the script in the current attempt. For a sweep that was detached to SageMaker,
    prints the log of its agent. A terminal gets only colour codes; pipes and files get the lines unchanged.
    """
    is_terminal = sys.stdout.isatty()
    for line in logs_view.read_log(label, follow=follow, raw=raw):
        if as_json:
            print_result(json.dumps({"line": line}))
        else:
            print_result(clean_line(line) if is_terminal else line)
