"""`smsweep agents`: list the agents of all machines, and drain, stop or resize them."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.options import Json, complete_id, whole_id
from smsweep.cli.output import print_json, print_message, print_result, wide_table
from smsweep.cli.text import clean
from smsweep.core.json_documents import AgentDocument
from smsweep.errors import UsageError
from smsweep.services.agents import records
from smsweep.util.clock import time_text

AGENTS_EXAMPLES = """
smsweep agents
smsweep agents --sweep abcd1234
smsweep agents drain host:4711:0a1b2c3d4e5f6a7b
smsweep agents stop 4711
smsweep agents set 4711 --parallel 8
"""
ACTIONS = ("drain", "stop", "set")
DONE = {
    "drain": "it exits after its running trials",
    "stop": "its running trials return to the queue, and it exits",
    "set": "it applies the number at its next poll; running trials finish",
}


def agents(
    action: Annotated[
        str,
        typer.Argument(
            metavar="[drain|stop|set]",
            autocompletion=lambda: list(ACTIONS),
            help="drain: finish running trials and exit. stop: queue them again and exit. set: change --parallel.",
        ),
    ] = "",
    agent: Annotated[
        str, typer.Argument(metavar="[AGENT]", help="Id of the agent, or a part that no other id has.")
    ] = "",
    sweep: Annotated[
        str | None,
        typer.Option(
            "--sweep", metavar="ID", callback=whole_id, autocompletion=complete_id, help="List only its agents."
        ),
    ] = None,
    parallel: Annotated[
        int | None,
        typer.Option("--parallel", "-j", min=1, metavar="N", help="With set: trials at the same time."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the agents of all machines, or drain, stop or resize one.

    An agent carries out an order at its next poll. An agent is lost if it has sent no heartbeat for a minute, or
    if its process on this machine has ended.
    """
    if not action:
        if parallel is not None:
            raise UsageError("--parallel: needs an agent; write: smsweep agents set AGENT --parallel N")
        found = records.list_agents(sweep)
        print_json(found) if as_json else show_agents(found)
        return
    if action not in ACTIONS:
        raise UsageError(f"smsweep agents {action}: no such action; use one of {', '.join(ACTIONS)}")
    if not agent:
        raise UsageError(f"smsweep agents {action}: the agent is missing; list the agents with: smsweep agents")
    if action == "set" and parallel is None:
        raise UsageError("smsweep agents set: --parallel is missing; write: smsweep agents set AGENT --parallel N")
    if action != "set" and parallel is not None:
        raise UsageError(
            f"smsweep agents {action}: --parallel is only for set; write: smsweep agents set AGENT --parallel N"
        )
    ordered = records.order_agent(agent, order="" if action == "set" else action, parallel=parallel)
    if as_json:
        print_json([ordered])
    else:
        print_result(ordered["id"])
    print_message(f"agent {clean(ordered['id'])}: {DONE[action]}")


def show_agents(found: list[AgentDocument]) -> None:
    if not found:
        print_message("no agent runs; start one with: smsweep agent ID")
        return
    hidden = wide_table(
        ["agent", "sweep", "state", "slots", "trials", "started", "last heartbeat", "version"],
        [
            [
                each["id"],
                each["sweep"],
                each["state"],
                ", ".join(f"{clean(place)}: {n}" for place, n in each["slots"].items()),
                " ".join(map(str, each["trials"])),
                time_text(each["started_at"]),
                time_text(each["seen_at"]),
                each["version"],
            ]
            for each in found
        ],
        first=3,
        last=0,
    )
    if hidden:
        print_message(f"columns left out: {', '.join(hidden)}; show all with: smsweep agents | less -S")
