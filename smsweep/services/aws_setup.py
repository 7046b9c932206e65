"""Find the W&B key as wandb finds it, and put it where training jobs can fetch it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from smsweep.errors import NotFound
from smsweep.secrets.redact import WANDB_KEY, WANDB_KEY_FORM, _variable, find_wandb_key
from smsweep.services.labels import parse_sweep_id
from smsweep.services.sweeps.load import JobLike, load_job
from smsweep.services.workspace import Workspace

log = logging.getLogger(__name__)

DEFAULT_NAME = "smsweep/wandb"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    variable: str  # that jobs get
    found_in: str
    arn: str


def auth(*, variable: str = WANDB_KEY, name: str = "", ssm: bool = False) -> Stored:
    """Put a secret of this machine into Secrets Manager, or SSM, and return what job.yaml refers to it by.

    variable: the environment variable that holds it; the W&B key is also looked for where `wandb login` puts it.
    name: in AWS; drawn from the variable when empty. What wandb would not take as its key is told, but
    stored: a server of one's own may have others. Raises NotFound, or JobError.
    """
    environ = Workspace().environ
    found = find_wandb_key(environ) if variable == WANDB_KEY else _variable(environ, variable)
    if found is None:
        places = " nor in netrc or wandb's settings; run `wandb login`" if variable == WANDB_KEY else ""
        raise NotFound(f"{variable} is not set{places}")
    if variable == WANDB_KEY and not WANDB_KEY_FORM.fullmatch(found.value):
        log.warning(
            "%s: wandb would not take this as a key, which has 40 or more letters, digits, - and _", found.where
        )
    name = name or (DEFAULT_NAME if variable == WANDB_KEY else f"smsweep/{variable.lower()}")
    from smsweep.aws.client import (
        Aws,  # boto3 is slow to import, and finding a key does not need it
        store_parameter,
        store_secret,
    )

    aws = Aws(environ)
    try:
        if ssm:
            arn = store_parameter(aws, f"/{name.lstrip('/')}", found.value)
        else:
            arn = store_secret(aws, name, found.value)
    finally:
        aws.close()
    return Stored(variable=variable, found_in=found.where, arn=arn)


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
