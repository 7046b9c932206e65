"""`smsweep why`: how a trial came into its state."""

from __future__ import annotations

from smsweep.cli.options import Json, TrialLabel
from smsweep.cli.output import answer, answer_json
from smsweep.cli.text import clean, clean_line, duration
from smsweep.core.json_documents import WhyDocument
from smsweep.services.views import why as why_service

EXAMPLES = """
smsweep why abcd1234/7
smsweep why abcd1234/7 --json
"""


def why(label: TrialLabel, as_json: Json = False) -> None:
    """Say why a trial was stopped, failed, or waits.

    Which rule stopped it, at what value against which threshold; or how it failed, with the end of its log.
    """
    told = why_service.why(label)
    if as_json:
        answer_json(told)
        return
    answer(f"{told['trial']} {clean(told['why'])}")
    for line in told["reason"].splitlines():
        answer(clean(line))
    for line in _course(told):
        answer(line)
    if told["log"]:
        answer("")
        answer("the end of its log:")
        for line in told["log"]:
            answer(f"  {clean_line(line)}")


def _course(told: WhyDocument) -> list[str]:
    """Say which job it was, where and how long it ran, and after which retries."""
    if not told["job_name"] or told["waiting"]:
        return []
    taken = duration(told["started_at"], told["ended_at"])
    ran = f"ran {taken}" if taken else "runs"
    started_at = (told["started_at"] or "")[:19].replace("T", " ")
    lines = [f"job {told['job_name']} {ran} on {told['place']}, from {started_at} UTC"]
    retried = ", ".join(f"{n} x {kind}" for kind, n in told["retries"].items())
    return [*lines, f"retried before: {retried}"] if retried else lines
