"""`smsweep iam`: the permissions that sweeps on SageMaker need."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.options import Job, complete_id, whole_id
from smsweep.cli.output import answer_json
from smsweep.errors import UsageError
from smsweep.services import iam as iam_service

EXAMPLES = """
smsweep iam --job job.yaml
smsweep iam --job job.yaml --of role
smsweep iam --sweep abcd1234 --of role
"""


def iam(
    job: Job = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            "--sweep",
            metavar="ID",
            callback=whole_id,
            autocompletion=complete_id,
            help="For the jobs, checkpoints and agent of this sweep alone.",
        ),
    ] = None,
    of: Annotated[str | None, typer.Option("--of", help="Only one: launcher, role or agent.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Said for clarity: policies are JSON.")] = False,
) -> None:
    """Print the IAM policies that sweeps need.

    Of who runs smsweep (launcher), of the role that the jobs have, and of the job that a detached agent is. They
    allow the calls that are made, and nothing else; a job.yaml narrows them to its own role, buckets, keys and
    secrets. --sweep narrows them to one sweep, whose own job.yaml counts if --job names none.
    """
    policies = iam_service.policies(job, sweep)
    if of is not None and of not in policies:
        raise UsageError(f"--of: no {of!r}; there are {', '.join(policies)}")
    answer_json(policies[of] if of else policies)
