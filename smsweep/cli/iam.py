"""`smsweep iam`: the permissions that sweeps on SageMaker need."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep import sdk
from smsweep.cli.options import Job
from smsweep.cli.output import answer_json
from smsweep.errors import UsageError

EXAMPLES = """
smsweep iam --job job.yaml
smsweep iam --job job.yaml --of role
"""


def iam(
    job: Job = None,
    of: Annotated[str | None, typer.Option("--of", help="Only one: launcher, role or agent.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Said for clarity: policies are JSON.")] = False,
) -> None:
    """Print the IAM policies that sweeps need.

    Of who runs smsweep (launcher), of the role that the jobs have, and of the job that a detached agent is. They
    allow the calls that are made, and nothing else; a job.yaml narrows them to its own role, buckets, keys and
    secrets.
    """
    policies = sdk.iam.policies(job)
    if of is not None and of not in policies:
        raise UsageError(f"--of: no {of!r}; there are {', '.join(policies)}")
    answer_json(policies[of] if of else policies)
