"""`smsweep ls`: list the sweeps."""

from __future__ import annotations

from smsweep.cli.options import Json
from smsweep.cli.output import print_json, print_message, wide_table
from smsweep.cli.text import counts
from smsweep.services.views import json_views

EXAMPLES = """
smsweep ls
smsweep ls --json
"""


def ls(as_json: Json = False) -> None:
    """List sweeps, newest first.

    A terminal shows the columns that fit, and cuts long names. Pipes and files get everything.
    """
    sweeps = json_views.list_sweeps()
    if as_json:
        print_json(sweeps)
        return
    if not sweeps:
        print_message("no sweep yet; create a sweep with: smsweep sweep sweep.yaml")
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
        print_message(f"columns left out: {', '.join(left_out)}; show all with: smsweep ls | less -S")
