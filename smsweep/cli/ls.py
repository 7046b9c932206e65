"""`smsweep ls`: every sweep."""

from __future__ import annotations

from smsweep import sdk
from smsweep.cli.options import Json
from smsweep.cli.output import answer_json, say, table
from smsweep.cli.text import counts

EXAMPLES = """
smsweep ls
smsweep ls --json
"""


def ls(as_json: Json = False) -> None:
    """List sweeps, newest first."""
    sweeps = sdk.views.list_sweeps()
    if as_json:
        answer_json(sweeps)
        return
    if not sweeps:
        say("no sweep yet; create one with: smsweep sweep sweep.yaml")
        return
    table(
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
    )
