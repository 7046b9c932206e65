"""`smsweep set`: change the config of an existing sweep."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.options import Json, complete_id, whole_id
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.cli.text import clean
from smsweep.config_files.config_change import parse_change
from smsweep.core.sweep import changes_text
from smsweep.services.sweeps import change
from smsweep.services.views import json_views

SET_EXAMPLES = """
smsweep set abcd1234 run_cap=200 budget.usd=50
smsweep set abcd1234 parameters.lr.max=0.1 parameters.batch_size.values+=128
smsweep set abcd1234 'stop_if=loss > 10 after 3'
smsweep set abcd1234 'early_terminate={type: hyperband, min_iter: 3}'
smsweep set abcd1234 early_terminate=null
"""


def set(  # noqa: A001 - the name of the command
    sweep_id: Annotated[
        str,
        typer.Argument(
            metavar="ID", callback=whole_id, autocompletion=complete_id, help="The id or name of a sweep."
        ),
    ],
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE...",
            help="Values in YAML. null removes a key; += and -= add and drop items of a list.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Change the config of a sweep while it runs.

    Changes run_cap, parameters and early_terminate of sweep.yaml, budget and stop_if of job.yaml, and parallel of
    the running agents: all or none. Agents apply the change at their next poll. Existing trials stay, also those
    outside of the new search space. `smsweep show ID` lists the revisions, and `smsweep diff ID@1 ID@2` compares
    them.
    """
    changed = change.change(sweep_id, map(parse_change, changes))
    if as_json:
        print_json(json_views.show(changed.sweep.id))
    else:
        print_result(changed.sweep.id)
    if not changed.is_changed:
        print_message(f"nothing changed: revision {changed.revision.number} has these values already")
        return
    print_message(f"revision {changed.revision.number}: {clean(changes_text(changed.revision.changes))}")
    if changed.hint:
        print_message(changed.hint)
