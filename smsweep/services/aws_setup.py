"""Set up AWS for sweeps: store the W&B key or another secret, and print the IAM policies."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from smsweep.backends.registry import backend_spec
from smsweep.errors import NotFound
from smsweep.secrets.redact import WANDB_KEY, WANDB_KEY_FORM, _variable, find_wandb_key
from smsweep.services.labels import parse_sweep_id
from smsweep.services.places import choose_places
from smsweep.services.sweeps.load import JobLike, load_job
from smsweep.services.workspace import Workspace

log = logging.getLogger(__name__)

DEFAULT_NAME = "smsweep/wandb"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A secret that was stored in AWS."""

    variable: str  # environment variable of the jobs
    read_from: str  # where this machine has the secret
    arn: str


def auth(*, variable: str = WANDB_KEY, name: str = "", ssm: bool = False) -> Stored:
    """Store a secret of this machine in AWS Secrets Manager or SSM Parameter Store.

    An unusual W&B key is stored with a warning, because a self-hosted server can have other keys.

    Args:
        variable: Environment variable that has the secret. The W&B key is also read from netrc and W&B's settings.
        name: Name in AWS. Default: derived from the variable.
        ssm: Use SSM Parameter Store instead of Secrets Manager.

    Returns:
        The stored secret, with the ARN for job.yaml.

    Raises:
        NotFound: If this machine does not have the secret.
        JobError: If AWS rejects the request.
    """
    environ = Workspace().environ
    secret = find_wandb_key(environ) if variable == WANDB_KEY else _variable(environ, variable)
    if secret is None:
        advice = (
            ", and netrc and W&B's settings have no key; run `wandb login`"
            if variable == WANDB_KEY
            else "; set it"
        )
        raise NotFound(f"{variable} is not set{advice}")
    if variable == WANDB_KEY and not WANDB_KEY_FORM.fullmatch(secret.value):
        log.warning(
            "%s: wandb does not accept this key; a key has 40 or more letters, digits, - and _", secret.where
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
            arn = store_parameter(aws, f"/{name.lstrip('/')}", secret.value)
        else:
            arn = store_secret(aws, name, secret.value)
    finally:
        aws.close()
    return Stored(variable=variable, read_from=secret.where, arn=arn)


def policies(
    job: JobLike = None, sweep: str | None = None, *, with_delete: bool = False, with_tuning_jobs: bool = False
) -> dict[str, dict[str, Any]]:
    """Return the IAM policy documents that sweeps on SageMaker need.

    Args:
        job: A job.yaml, whose role, buckets, keys and secrets the policies name. Default: that of `sweep`.
        sweep: Id of a sweep. The policies then allow only its jobs, checkpoints, results and detached agent.
            Default: all sweeps. With such a policy, each trial can access the checkpoints of all sweeps.
        with_delete: The launcher can also delete what sweeps left in S3.
        with_tuning_jobs: The launcher can also read tuning jobs.

    Returns:
        The documents of `launcher`, `role` and `agent`.

    Raises:
        UsageError: If `sweep` is not a sweep id.
        NotFound: If `job` is None and this store does not have the sweep.
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
    places = choose_places(template, workspace, backend=None if template.places else "sagemaker")
    scopes = [
        scope_of(place.template, place.workspace.environ.get("AWS_REGION") or region, *queues, sweep_id)
        for place in places
        if backend_spec(place.backend).ask_price is not None
    ]
    scopes = scopes or [scope_of(template, region, *queues, sweep_id)]  # no place is in AWS
    launcher = (
        *iam_policy.LAUNCHER,
        *(iam_policy.CLEANER if with_delete else ()),
        *(iam_policy.TUNING_JOB_READER if with_tuning_jobs else ()),
    )
    actions = {"launcher": launcher, "role": iam_policy.ROLE, "agent": iam_policy.AGENT}
    return {name: iam_policy.policy(each, scopes) for name, each in actions.items()}
