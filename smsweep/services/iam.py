"""The IAM policies of who runs sweeps on SageMaker, and of their jobs."""

from __future__ import annotations

from typing import Any

from smsweep.services.labels import parse_sweep_id
from smsweep.services.sweeps.load import JobLike, load_job
from smsweep.services.workspace import Workspace


def policies(job: JobLike = None, sweep: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the IAM policy documents that sweeps on SageMaker need.

    Args:
        job: A job.yaml, whose role, buckets, keys and secrets the policies name. Without one and with `sweep`:
            that sweep's own.
        sweep: Id of a sweep. The policies are good for its jobs, checkpoints, results and detached agent alone.
            None for all sweeps. A policy of a role is static: one for all sweeps lets a trial reach the
            checkpoints of all of them.

    Returns:
        The documents of `launcher`, `role` and `agent`.

    Raises:
        UsageError: If `sweep` is not a sweep's id.
        NotFound: If there is no `job`, and no such sweep in this store.
        ConfigError: If `job` is not a valid job.yaml.
    """
    from smsweep.aws import iam_policy  # boto3 is slow to import
    from smsweep.aws.iam_policy import scope_of

    workspace = Workspace()
    environ = workspace.environ
    sweep_id = parse_sweep_id(sweep) if sweep is not None else ""
    if sweep_id and job is None:
        with workspace.store() as store:
            template = store.get_sweep(sweep_id).job
    else:
        template = load_job(job).template
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    queues = environ.get("SMSWEEP_SAGEMAKER_EVENTS", ""), environ.get("SMSWEEP_BATCH_QUEUE", "")
    scope = scope_of(template, region, *queues, sweep_id)
    actions = {"launcher": iam_policy.LAUNCHER, "role": iam_policy.ROLE, "agent": iam_policy.AGENT}
    return {name: iam_policy.policy(each, scope) for name, each in actions.items()}
