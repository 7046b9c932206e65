"""`smsweep logs` and `why`: the log of a trial, and an explanation of its state."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from smsweep.cli.options import Json, Label, TrialLabel
from smsweep.cli.output import print_json, print_result
from smsweep.cli.text import clean, clean_line, duration
from smsweep.core.json_documents import WhyDocument
from smsweep.services.views import logs as logs_view
from smsweep.services.views import why as why_service

LOGS_EXAMPLES = """
smsweep logs abcd1234/7
smsweep logs abcd1234/7 -f
smsweep logs abcd1234/7 | grep loss
smsweep logs abcd1234
"""
WHY_EXAMPLES = """
smsweep why abcd1234/7
smsweep why abcd1234/7 --json
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


def why(label: TrialLabel, as_json: Json = False) -> None:
    """Explain why a trial was stopped, failed, or waits.

    Shows the rule that stopped the trial, with value and threshold; or the failure, with the end of the log.
    """
    explained = why_service.why(label)
    if as_json:
        print_json(explained)
        return
    print_result(f"{explained['trial']} {clean(explained['why'])}")
    for line in explained["reason"].splitlines():
        print_result(clean(line))
    for line in _job_lines(explained):
        print_result(line)
    if explained["log"]:
        print_result("")
        print_result("end of the log:")
        for line in explained["log"]:
            print_result(f"  {clean_line(line)}")


def _job_lines(explained: WhyDocument) -> list[str]:
    """Return the job, its place and duration, and the retries before it."""
    if not explained["job_name"] or explained["waiting"]:
        return []
    elapsed = duration(explained["started_at"], explained["ended_at"])
    ran = f"ran {elapsed}" if elapsed else "runs"
    started = (explained["started_at"] or "")[:19].replace("T", " ")
    lines = [f"job {explained['job_name']} {ran} on {explained['place']}, from {started} UTC"]
    retried = ", ".join(f"{n} x {kind}" for kind, n in explained["retries"].items())
    return [*lines, f"retried before: {retried}"] if retried else lines
