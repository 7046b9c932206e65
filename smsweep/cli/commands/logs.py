"""`smsweep logs`: what a trial printed."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from smsweep.cli.options import Label
from smsweep.cli.output import answer
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
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until its job has ended.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Also the lines by which smsweep.log() reports metrics.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print what a trial's script wrote.

    Of its current attempt, stdout and stderr together; of a sweep that was detached to SageMaker, what its agent
    says. On a terminal only colours pass; into a pipe or file the lines go as they are.
    """
    is_terminal = sys.stdout.isatty()
    for line in logs_view.read_log(label, follow=follow, raw=raw):
        if as_json:
            answer(json.dumps({"line": line}))
        else:
            answer(clean_line(line) if is_terminal else line)
