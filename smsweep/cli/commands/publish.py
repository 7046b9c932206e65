"""`smsweep publish`: invite agents to a sweep over a queue."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.options import Json, SweepId
from smsweep.cli.output import answer, answer_json, say
from smsweep.services.agents import queue as queue_service

EXAMPLES = """
smsweep publish abcd1234 --queue https://sqs.eu-west-1.amazonaws.com/123456789012/sweeps --agents 20
smsweep publish abcd1234 --queue URL --agents 20 --source s3://bucket/sources
"""


def publish(
    sweep_id: SweepId,
    queue: Annotated[str, typer.Option("--queue", metavar="URL", help="An SQS queue.")],
    agents: Annotated[int, typer.Option("--agents", min=1, help="To invite: as many messages.")] = 1,
    source: Annotated[
        str, typer.Option("--source", metavar="s3://BUCKET/PREFIX", help="Put the sweep's source there, for them.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Invite agents to a sweep over a queue.

    Each message calls one `smsweep agent --queue URL`, wherever it runs.
    """
    published = queue_service.publish(sweep_id, queue, agents=agents, source=source)
    answer_json({"id": published, "agents": agents, "queue": queue}) if as_json else answer(published)
    say(f"{agents} sent; agents take them with: smsweep agent --queue {queue}")
