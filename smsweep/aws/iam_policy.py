"""The IAM policies that sweeps need, from one table of all calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from smsweep.aws.iam_scope import Scope
from smsweep.aws.job_template import AGENTS, ASSETS

Policy = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """One statement of a policy. It is omitted if it has no resources."""

    sid: str
    actions: tuple[str, ...]
    resources: Callable[[Scope], Iterable[str]]
    condition: Callable[[Scope], Mapping[str, Any]] = lambda scope: {}
    effect: str = "Allow"


def _job_names(scope: Scope) -> str:
    """Return the pattern of the names of a sweep's jobs, its agents' included."""
    return f"smsweep-{scope.sweep}-*" if scope.sweep else "smsweep-*"


def _jobs(scope: Scope) -> list[str]:
    return [f"arn:{scope.partition}:sagemaker:{scope.region}:{scope.account}:training-job/{_job_names(scope)}"]


def _outputs(scope: Scope) -> list[str]:
    """Return the output of jobs. SageMaker adds the name of the job to the prefix."""
    names = f"{_job_names(scope)}/*" if scope.sweep else "*"
    return [f"arn:{scope.partition}:s3:::{scope.output}/{names}"]


def _checkpoints(scope: Scope) -> list[str]:
    return _objects(scope, f"{scope.checkpoints}/{scope.sweep}")


def _agent(scope: Scope) -> list[str]:
    """Return the objects of detached agents: the store, its commands, the sources."""
    return _objects(scope, f"{scope.bucket}/{AGENTS}/{scope.sweep}")


def _objects(scope: Scope, *places: str) -> list[str]:
    return [f"arn:{scope.partition}:s3:::{place.rstrip('/')}/*" for place in dict.fromkeys(places)]


def _inputs(scope: Scope) -> list[str]:
    places = dict.fromkeys(place if "/" in place else f"{place}/" for place in scope.inputs)
    return [f"arn:{scope.partition}:s3:::{place}*" for place in places]


def _buckets(scope: Scope, *places: str) -> list[str]:
    return [f"arn:{scope.partition}:s3:::{name}" for name in dict.fromkeys(p.partition("/")[0] for p in places)]


def _log_group(scope: Scope) -> list[str]:
    return [f"arn:{scope.partition}:logs:{scope.region}:{scope.account}:log-group:/aws/sagemaker/TrainingJobs*"]


def _key(scope: Scope, key: str) -> list[str]:
    """Return a key's ARN. For an alias, return all keys, because a policy cannot name an alias; see `_alias`."""
    arn = f"arn:{scope.partition}:kms:{scope.region}:{scope.account}:key/"
    if _alias(key):
        return [arn + "*"]
    return [key if key.startswith("arn:") else arn + key] if key else []


def _alias(key: str) -> dict[str, Any]:
    """Return the condition that selects the keys of an alias; {} for a key that is not an alias."""
    name = key.rpartition(":")[2]
    is_alias = name.startswith("alias/")
    return {"ForAnyValue:StringEquals": {"kms:ResourceAliases": name}} if is_alias else {}


def _of_service(scope: Scope, service: str) -> list[str]:
    return [arn for arn in scope.secrets if f":{service}:" in arn]


OWN_LOG = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")
OUTPUT_KEY = Grant(
    sid="Keys",
    actions=("kms:GenerateDataKey", "kms:Decrypt"),
    resources=lambda scope: _key(scope, scope.output_key),
    condition=lambda scope: _alias(scope.output_key),
)
LAUNCHER = (
    Grant(
        sid="Jobs",
        actions=(
            "sagemaker:CreateTrainingJob",
            "sagemaker:AddTags",  # required by CreateTrainingJob with tags
            "sagemaker:DescribeTrainingJob",
            "sagemaker:StopTrainingJob",
            "sagemaker:UpdateTrainingJob",  # lets go of a warm pool
            "sagemaker:ListTags",  # tells whether a job of the right name is ours
        ),
        resources=_jobs,
    ),
    Grant(sid="JobList", actions=("sagemaker:ListTrainingJobs",), resources=lambda scope: ["*"]),
    Grant(
        sid="JobRole",
        actions=("iam:PassRole",),
        resources=lambda scope: dict.fromkeys((scope.role, scope.agent_role)),
        condition=lambda scope: {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
    ),
    Grant(sid="Logs", actions=("logs:FilterLogEvents",), resources=_log_group),
    Grant(
        sid="Source",
        actions=("s3:GetObject", "s3:PutObject"),
        resources=lambda scope: _objects(scope, f"{scope.bucket}/{ASSETS}"),
    ),
    Grant(sid="Results", actions=("s3:GetObject",), resources=_outputs),
    Grant(sid="Detached", actions=("s3:GetObject", "s3:PutObject", "s3:DeleteObject"), resources=_agent),
    # Without it S3 calls what is not there forbidden.
    Grant(sid="List", actions=("s3:ListBucket",), resources=lambda scope: _buckets(scope, scope.bucket)),
    Grant(
        sid="BucketSettings",  # for `smsweep doctor`
        actions=("s3:GetBucketVersioning", "s3:GetLifecycleConfiguration"),
        resources=lambda scope: _buckets(scope, scope.bucket),
    ),
    Grant(
        sid="Events",
        actions=("sqs:ReceiveMessage", "sqs:DeleteMessage"),
        resources=lambda scope: [scope.queue] if scope.queue else [],
    ),
    Grant(
        sid="Queue",
        actions=("batch:SubmitServiceJob", "batch:TerminateServiceJob"),
        resources=lambda scope: (
            [scope.job_queue, f"arn:{scope.partition}:batch:{scope.region}:{scope.account}:service-job/*"]
            if scope.job_queue
            else []
        ),
    ),
    Grant(
        sid="QueueList",
        actions=("batch:ListServiceJobs", "batch:DescribeServiceJob"),
        resources=lambda scope: ["*"] if scope.job_queue else [],
    ),
    Grant(
        sid="Prices",
        actions=("pricing:GetProducts",),
        resources=lambda scope: ["*"] if scope.asks_price else [],
    ),
    OUTPUT_KEY,
)

ROLE = (
    # A Deny, in any bucket: output_path, an input or another policy of the role may be of the whole bucket.
    Grant(
        sid="NoAgents",
        effect="Deny",
        actions=("s3:*",),
        resources=lambda scope: [f"arn:{scope.partition}:s3:::*/{AGENTS}/*"],
    ),
    Grant(
        sid="NoSourceOfOthers",
        effect="Deny",
        actions=("s3:Put*", "s3:Delete*"),
        resources=lambda scope: [f"arn:{scope.partition}:s3:::*/{ASSETS}/*"],
    ),
    Grant(
        sid="Read",
        actions=("s3:GetObject",),
        resources=lambda scope: [*_objects(scope, f"{scope.bucket}/{ASSETS}"), *_inputs(scope)],
    ),
    Grant(
        sid="List",
        actions=("s3:ListBucket",),
        resources=lambda scope: _buckets(scope, scope.bucket, scope.checkpoints, *scope.inputs),
    ),
    Grant(
        sid="Write",
        actions=("s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"),
        resources=_outputs,
    ),
    Grant(
        sid="Hooks",
        actions=("s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"),
        resources=lambda scope: _objects(scope, *scope.hooks),
    ),
    Grant(
        sid="Checkpoints",
        actions=("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"),
        resources=_checkpoints,
    ),
    Grant(
        sid="Logs",
        actions=OWN_LOG,
        resources=_log_group,
    ),
    Grant(
        sid="Metrics",
        actions=("cloudwatch:PutMetricData",),
        resources=lambda scope: ["*"],
        condition=lambda scope: {"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}},
    ),
    Grant(sid="ImageLogin", actions=("ecr:GetAuthorizationToken",), resources=lambda scope: ["*"]),
    Grant(
        sid="Image",
        actions=("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
        resources=lambda scope: [f"arn:{scope.partition}:ecr:{scope.region}:*:repository/*"],
    ),
    Grant(
        sid="Secrets",
        actions=("secretsmanager:GetSecretValue",),
        resources=lambda scope: _of_service(scope, "secretsmanager"),
    ),
    Grant(sid="Parameters", actions=("ssm:GetParameter",), resources=lambda scope: _of_service(scope, "ssm")),
    OUTPUT_KEY,
    Grant(
        sid="VolumeKey",
        actions=("kms:CreateGrant",),
        resources=lambda scope: _key(scope, scope.volume_key),
        condition=lambda scope: _alias(scope.volume_key),
    ),
    Grant(
        sid="Network",
        actions=(
            "ec2:CreateNetworkInterface",
            "ec2:CreateNetworkInterfacePermission",
            "ec2:DeleteNetworkInterface",
            "ec2:DeleteNetworkInterfacePermission",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeVpcs",
            "ec2:DescribeDhcpOptions",
            "ec2:DescribeSubnets",
            "ec2:DescribeSecurityGroups",
        ),
        resources=lambda scope: ["*"] if scope.has_vpc else [],
    ),
    Grant(
        sid="RemoteDebug",
        actions=tuple(
            f"ssmmessages:{verb}{what}Channel" for verb in ("Create", "Open") for what in ("Control", "Data")
        ),
        resources=lambda scope: ["*"] if scope.is_debugged else [],
    ),
    Grant(
        sid="Registry",
        actions=("lambda:InvokeFunction",),
        resources=lambda scope: [scope.registry] if scope.registry else [],
    ),
)


# A detached agent's job makes the calls of a launcher, and is itself a training job.
AGENT = (
    *(grant for grant in LAUNCHER if grant.sid != "BucketSettings"),
    *(grant for grant in ROLE if grant.sid in ("Write", "Metrics", "ImageLogin", "Image", "VolumeKey", "Network")),
    Grant(sid="OwnLog", actions=OWN_LOG, resources=_log_group),
    Grant(
        sid="Store",
        actions=("secretsmanager:GetSecretValue",),
        resources=lambda scope: [arn for arn in scope.agent_store if ":secretsmanager:" in arn],
    ),
    Grant(
        sid="StoreParameter",
        actions=("ssm:GetParameter",),
        resources=lambda scope: [arn for arn in scope.agent_store if ":ssm:" in arn],
    ),
)


def policy(grants: Iterable[Grant], scope: Scope) -> Policy:
    """Return the IAM policy document of these grants."""
    statements = []
    for grant in grants:
        resources = list(grant.resources(scope))
        if resources:
            statement = {
                "Sid": grant.sid,
                "Effect": grant.effect,
                "Action": list(grant.actions),
                "Resource": resources,
            }
            condition = grant.condition(scope)
            statements.append({**statement, "Condition": condition} if condition else statement)
    return {"Version": "2012-10-17", "Statement": statements}
