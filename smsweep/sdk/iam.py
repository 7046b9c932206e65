"""The IAM policies of who runs sweeps on SageMaker, and of their jobs."""

from __future__ import annotations

from typing import Any

from smsweep.sdk.create import JobLike, load_job
from smsweep.sdk.workspace import Workspace
from smsweep.tables import LazyTable

# boto3 is slow to load.
AWS: LazyTable[Any] = LazyTable(
    {
        "LAUNCHER": "smsweep.backends.sagemaker.iam:LAUNCHER",
        "ROLE": "smsweep.backends.sagemaker.iam:ROLE",
        "AGENT": "smsweep.backends.sagemaker.iam:AGENT",
        "scope_of": "smsweep.backends.sagemaker.iam_scope:scope_of",
        "policy": "smsweep.backends.sagemaker.iam:policy",
    }
)


def policies(job: JobLike = None) -> dict[str, dict[str, Any]]:
    """Return the least-privilege policy documents of `launcher`, `role` and `agent`. job: narrows them."""
    environ = Workspace().environ
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    queues = environ.get("SMSWEEP_SAGEMAKER_EVENTS", ""), environ.get("SMSWEEP_BATCH_QUEUE", "")
    scope = AWS["scope_of"](load_job(job).template, region, *queues)
    return {name.lower(): AWS["policy"](AWS[name], scope) for name in ("LAUNCHER", "ROLE", "AGENT")}
