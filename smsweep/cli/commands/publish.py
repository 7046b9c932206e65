"""`smsweep publish`: invite agents to a sweep through a queue."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.options import Json, SweepId
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.services.agents import queue as queue_service

EXAMPLES = """
smsweep publish abcd1234 --queue https://sqs.eu-west-1.amazonaws.com/123456789012/sweeps --agents 20
smsweep publish abcd1234 --queue URL --agents 20 --source s3://bucket/sources
"""


def publish(
    sweep_id: SweepId,
    queue: Annotated[str, typer.Option("--queue", metavar="URL", help="URL of an SQS queue.")],
    agents: Annotated[
        int, typer.Option("--agents", min=1, help="Number of agents to invite; one message for each.")
    ] = 1,
    source: Annotated[
        str,
        typer.Option(
            "--source", metavar="s3://BUCKET/PREFIX", help="Upload the source of the sweep there for the agents."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Invite agents to a sweep through an SQS queue.

    Each message starts one `smsweep agent --queue URL` on any machine.
    """
    published = queue_service.publish(sweep_id, queue, agents=agents, source=source)
    print_json({"id": published, "agents": agents, "queue": queue}) if as_json else print_result(published)
    invitations = "1 invitation" if agents == 1 else f"{agents} invitations"
    print_message(f"sent {invitations}; start agents with: smsweep agent --queue {queue}")
