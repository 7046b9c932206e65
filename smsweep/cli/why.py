"""`smsweep why`: how a trial came into its state."""

from __future__ import annotations

from smsweep import sdk
from smsweep.cli.options import Json, TrialLabel
from smsweep.cli.output import answer, answer_json
from smsweep.cli.text import clean, clean_line

EXAMPLES = """
smsweep why abcd1234/7
smsweep why abcd1234/7 --json
"""


def why(label: TrialLabel, as_json: Json = False) -> None:
    """Say why a trial was stopped, failed, or waits.

    Which rule stopped it, at what value against which threshold; or how it failed, with the end of its log.
    """
    told = sdk.why.why(label)
    if as_json:
        answer_json(told)
        return
    answer(f"{told['trial']} {clean(told['why'])}")
    for line in told["reason"].splitlines():
        answer(clean(line))
    if told["log"]:
        answer("")
        answer("the end of its log:")
        for line in told["log"]:
            answer(f"  {clean_line(line)}")
