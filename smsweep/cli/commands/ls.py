"""`smsweep ls`: every sweep."""

from __future__ import annotations

from smsweep.cli.options import Json
from smsweep.cli.output import answer_json, say, wide_table
from smsweep.cli.text import counts
from smsweep.services.views import json_views

EXAMPLES = """
smsweep ls
smsweep ls --json
"""


def ls(as_json: Json = False) -> None:
    """List sweeps, newest first.

    A terminal shows the columns that it has room for, and the beginning of long names.
    """
    sweeps = json_views.list_sweeps()
    if as_json:
        answer_json(sweeps)
        return
    if not sweeps:
        say("no sweep yet; create one with: smsweep sweep sweep.yaml")
        return
    left_out = wide_table(
        ["id", "name", "state", "method", "expected", "trials", "created"],
        [
            [
                sweep["id"],
                sweep["name"],
                sweep["state"],
                sweep["method"],
                sweep["expected_trial_count"],
                counts(sweep["trials"]),
                (sweep["created_at"] or "")[:19],
            ]
            for sweep in sweeps
        ],
        first=2,
        last=0,
    )
    if left_out:
        say(f"no room for {', '.join(left_out)}; all: smsweep ls | less -S")
