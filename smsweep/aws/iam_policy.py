"""The IAM policies that sweeps need, from one table of all calls, for one sweep or for all sweeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from smsweep.aws.job_template import AGENTS, ASSETS, PREFIX
from smsweep.core.job import JobTemplate

Policy = dict[str, Any]
# (prefix of a region's name, partition)
PARTITIONS = (
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-isob-", "aws-iso-b"),
    ("us-isof-", "aws-iso-f"),
    ("us-iso-", "aws-iso"),
    ("eu-isoe-", "aws-iso-e"),
    ("eusc-", "aws-eusc"),
    ("", "aws"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """The parts of the resources' names; * for an unknown part."""

    partition: str
    region: str
    account: str
    role: str  # ARN
    agent_role: str  # ARN: of a detached agent's job; often the same
    bucket: str
    output: str  # bucket/prefix of models and output
    checkpoints: str  # bucket/prefix
    inputs: tuple[str, ...]  # bucket/prefix of the channels; the prefix can end inside a name
    secrets: tuple[str, ...]  # ARNs
    agent_store: tuple[str, ...]  # ARN of the secret or parameter with the URL of its store
    output_key: str  # a KMS key's ARN, id or alias, as the request names it; "" for none
    volume_key: str  # a KMS key, in the same form
    has_vpc: bool
    is_debugged: bool  # remote debugging is enabled
    sweep: str  # id of the only sweep; "" for any
    hooks: tuple[str, ...]  # bucket/prefix of the output of debugger, profiler and TensorBoard
    registry: str  # ARN of the function that returns the credentials of a registry; "" for none
    queue: str  # ARN of the queue of events; "" for none
    job_queue: str  # ARN of AWS Batch's queue before SageMaker; "" for none
    asks_price: bool


def scope_of(
    template: JobTemplate, region: str, events_queue: str = "", job_queue: str = "", sweep: str = ""
) -> Scope:
    """Return the names of the resources that the jobs of a template use.

    Args:
        template: The template.
        region: The region; "" for any.
        events_queue: The URL of the queue of events; "" for none.
        job_queue: The name or ARN of AWS Batch's queue; "" for none.
        sweep: The id of the only sweep; "" for any.
    """
    request = template.request
    role = str(request.get("RoleArn", "*"))
    _, partition, _, _, account, *_ = role.split(":") if role != "*" else ["", _partition(region), "", "", "*", ""]
    outputs = request.get("OutputDataConfig", {})
    output = _place(outputs.get("S3OutputPath", ""))
    bucket = output.partition("/")[0] or f"sagemaker-{region or '*'}-{account}"
    checkpoints = _place(request.get("CheckpointConfig", {}).get("S3Uri", ""))
    sources = [channel.get("DataSource", {}) for channel in request.get("InputDataConfig", ())]
    uris = [source.get("S3DataSource", {}).get("S3Uri", "") for source in sources]
    return Scope(
        partition=partition,
        region=region or "*",
        account=account,
        role=role,
        agent_role=str(template.agent.get("role", role)),
        bucket=bucket,
        output=output or f"{bucket}/{PREFIX}/jobs",
        checkpoints=checkpoints or f"{bucket}/{PREFIX}/checkpoints",
        inputs=tuple(uri.removeprefix("s3://") for uri in uris if _place(uri)),
        secrets=tuple(value.partition("#")[0] for value in template.secrets.values()),
        agent_store=tuple(filter(None, [str(template.agent.get("store", "")).partition("#")[0]])),
        output_key=str(outputs.get("KmsKeyId", "")),
        volume_key=str(request.get("ResourceConfig", {}).get("VolumeKmsKeyId", "")),
        has_vpc="VpcConfig" in request,
        is_debugged=bool(request.get("RemoteDebugConfig", {}).get("EnableRemoteDebug")),
        sweep=sweep,
        hooks=tuple(filter(None, map(_place, hook_outputs(request)))),
        registry=str(
            request.get("AlgorithmSpecification", {})
            .get("TrainingImageConfig", {})
            .get("TrainingRepositoryAuthConfig", {})
            .get("TrainingRepositoryCredentialsProviderArn", "")
        ),
        queue=f"arn:{partition}:sqs:{region or '*'}:" + ":".join(events_queue.split("/")[-2:])
        if events_queue
        else "",
        job_queue=job_queue
        if job_queue.startswith("arn:") or not job_queue
        else f"arn:{partition}:batch:{region or '*'}:{account}:job-queue/{job_queue}",
        asks_price=template.asks_price,
    )


def hook_outputs(request: Mapping[str, Any]) -> Iterator[str]:
    """Yield the output URIs of debugger, profiler and TensorBoard."""
    rules = (request.get(f"{kind}RuleConfigurations", ()) for kind in ("Debug", "Profiler"))
    named = (request.get(name, {}) for name in ("DebugHookConfig", "ProfilerConfig", "TensorBoardOutputConfig"))
    for place in (*named, *(rule for some in rules for rule in some)):
        yield place.get("S3OutputPath", "")


def _partition(region: str) -> str:
    return next(partition for beginning, partition in PARTITIONS if region.startswith(beginning))


def _place(uri: str) -> str:
    """Return bucket/prefix of an S3 URI; "" for none."""
    parts = urlsplit(uri)
    return f"{parts.netloc}{parts.path}".rstrip("/") if parts.scheme == "s3" else ""


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
    return [_arn(scope, f"training-job/{_job_names(scope)}")]


def _arn(scope: Scope, name: str) -> str:
    """Return the ARN of an object of SageMaker."""
    return f"arn:{scope.partition}:sagemaker:{scope.region}:{scope.account}:{name}"


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
        sid="RoleSettings",  # for `smsweep doctor`
        actions=("iam:GetRole",),
        resources=lambda scope: [scope.role],
    ),
    Grant(
        sid="ImageSettings",  # for `smsweep doctor`
        actions=("ecr:DescribeImages",),
        resources=lambda scope: [f"arn:{scope.partition}:ecr:{scope.region}:{scope.account}:repository/*"],
    ),
    Grant(
        sid="Quotas",  # for `smsweep doctor`, `plan` and `run`
        actions=("servicequotas:ListServiceQuotas", "servicequotas:ListAWSDefaultServiceQuotas"),
        resources=lambda scope: ["*"],
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
# Of `smsweep rm --s3` and `smsweep prune`. Only on request, because these calls delete results.
CLEANER = (
    Grant(
        sid="DeleteResults",
        actions=("s3:DeleteObject",),
        resources=lambda scope: [
            *_objects(scope, *(f"{place}/{_job_names(scope)}" for place in (scope.output, *scope.hooks))),
            *_checkpoints(scope),
            *_objects(scope, f"{scope.bucket}/{ASSETS}"),
        ],
    ),
    Grant(
        sid="ListResults",
        actions=("s3:ListBucket", "s3:GetBucketVersioning"),
        resources=lambda scope: _buckets(scope, scope.bucket, scope.output, scope.checkpoints, *scope.hooks),
    ),
)
# Of `--from-tuner NAME` and `-R tuning-job/NAME`. Only on request, because few users read tuning jobs.
TUNING_JOB_READER = (
    Grant(
        sid="TuningJobs",
        actions=(
            "sagemaker:DescribeHyperParameterTuningJob",
            "sagemaker:ListTrainingJobsForHyperParameterTuningJob",
        ),
        resources=lambda scope: [_arn(scope, "hyper-parameter-tuning-job/*")],
    ),
    Grant(
        sid="TuningJobResults",
        actions=("sagemaker:DescribeTrainingJob",),
        resources=lambda scope: [_arn(scope, "training-job/*")],
    ),
)
OF_DOCTOR = ("BucketSettings", "RoleSettings", "ImageSettings", "Quotas")  # read-only checks, which agents skip
# A detached agent's job makes the calls of a launcher, and is itself a training job.
AGENT = (
    *(grant for grant in LAUNCHER if grant.sid not in OF_DOCTOR),
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


def policy(grants: Iterable[Grant], scopes: Sequence[Scope]) -> Policy:
    """Return the IAM policy document of these grants.

    Args:
        grants: The grants.
        scopes: The resources of each place where jobs run. Grants with the same condition are one statement.
    """
    statements: list[dict[str, Any]] = []
    for grant in grants:
        found: list[dict[str, Any]] = []
        for scope in scopes:
            resources, condition = list(grant.resources(scope)), grant.condition(scope)
            same = next((each for each in found if each.get("Condition", {}) == (condition or {})), None)
            if same is not None:
                same["Resource"] += [arn for arn in resources if arn not in same["Resource"]]
            elif resources:
                statement = {
                    "Sid": grant.sid + (str(len(found) + 1) if found else ""),
                    "Effect": grant.effect,
                    "Action": list(grant.actions),
                    "Resource": resources,
                }
                found.append({**statement, "Condition": condition} if condition else statement)
        statements += found
    return {"Version": "2012-10-17", "Statement": statements}
