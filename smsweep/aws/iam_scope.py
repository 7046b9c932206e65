"""The names of a sweep's AWS resources, for policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from smsweep.aws.job_template import PREFIX
from smsweep.core.job import JobTemplate

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
        hooks=tuple(filter(None, map(_place, _hooks(request)))),
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


def _hooks(request: Mapping[str, Any]) -> Iterator[str]:
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
