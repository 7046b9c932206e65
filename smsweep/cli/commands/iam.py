"""`smsweep iam`: the permissions that sweeps on SageMaker need."""

from __future__ import annotations

from typing import Annotated

import typer

from smsweep.cli.options import Job, complete_id, whole_id
from smsweep.cli.output import print_json
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
            help="Restrict the policies to the jobs, checkpoints and agent of this sweep.",
        ),
    ] = None,
    of: Annotated[str | None, typer.Option("--of", help="Print one policy: launcher, role or agent.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Accepted; the output is always JSON.")] = False,
) -> None:
    """Print the IAM policies that sweeps need.

    There are three: for the user who runs smsweep (launcher), for the execution role of the jobs (role), and for
    a detached agent (agent). They allow only the calls that smsweep makes. --job restricts them to the role,
    buckets, keys and secrets of job.yaml. --sweep restricts them to one sweep, and reads its job.yaml.
    """
    policies = iam_service.policies(job, sweep)
    if of is not None and of not in policies:
        raise UsageError(f"--of: {of!r} is not a policy; use one of {', '.join(policies)}")
    print_json(policies[of] if of else policies)
