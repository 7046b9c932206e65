"""`smsweep why`: explain the state of a trial."""

from __future__ import annotations

from smsweep.cli.options import Json, TrialLabel
from smsweep.cli.output import print_json, print_result
from smsweep.cli.text import clean, clean_line, duration
from smsweep.core.json_documents import WhyDocument
from smsweep.services.views import why as why_service

EXAMPLES = """
smsweep why abcd1234/7
smsweep why abcd1234/7 --json
"""


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
