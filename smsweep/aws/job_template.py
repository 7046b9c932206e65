"""Complete a job template for SageMaker, and upload the files of its jobs to S3."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from smsweep.aws.client import Aws, check_settings
from smsweep.aws.image_uris import image_uri, machines
from smsweep.aws.s3_transfer import check_bucket, put_empty, share_once, upload_once
from smsweep.core.job import RUNTIME_ZIP, JobTemplate, Site
from smsweep.errors import JobRejected
from smsweep.source.runtime_zip import compact_runtime_key, compact_runtime_zip

PREFIX = "smsweep"  # of all keys that smsweep writes to the bucket
ASSETS = f"{PREFIX}/assets"  # source and runtime, which the jobs of trials read
SOURCE_USERS = f"{ASSETS}/users"  # <assets>/<sweep id> below it marks assets as used by a sweep
RUNTIMES = f"{ASSETS}/runtimes"  # one object per version of the runtime; S3 copies it to the assets of each source
AGENTS = f"{PREFIX}/agents"  # of detached agents; the role of trials must not have access
# Of the runtime. AWS's images do not have the requirements, and CloudWatch does not mark the end of a log.
FLAGS = ("--install-requirements", "--say-end")


def check_place(template: JobTemplate, environ: Mapping[str, str]) -> None:
    """Check the secrets, the settings, the credentials and the bucket. Raises JobError, UsageError."""
    check_settings(template, environ)
    aws = Aws(environ)
    try:
        bucket, _ = bucket_of(template.request, aws.region)
        check_bucket(aws, bucket, ASSETS)
    finally:
        aws.close()


def prepare(
    template: JobTemplate,
    assets: Path,
    folder: Path,
    environ: Mapping[str, str],
    *,
    upload: bool,
    prefix: str = ASSETS,
) -> tuple[JobTemplate, Site]:
    """Return the template with its image, and upload the assets to S3. See `base.Prepare`.

    The bucket is the one of `output_path`, or else the default bucket of the SageMaker SDK.

    Args:
        prefix: The key prefix of the assets in the bucket.
    """
    del folder
    aws = Aws(environ)
    try:
        if not aws.region:
            raise JobRejected("SageMaker: no region; set AWS_REGION, or region in your AWS profile")
        complete = replace(template, request=completed_request(template, aws.region))
        bucket, owner = bucket_of(template.request, aws.region)
        is_shared = prefix == ASSETS  # the agent of a detached sweep must not depend on objects of other sweeps
        name = f"{compact_runtime_key()}-{assets.name.rpartition('-')[2]}" if is_shared else assets.name
        key = f"{prefix}/{name}"
        if upload:
            kms_key = template.request.get("OutputDataConfig", {}).get("KmsKeyId", "")
            keys = {"kms_key": kms_key, "owner": owner}
            if is_shared:
                shared, zipped = f"{RUNTIMES}/{compact_runtime_key()}.zip", compact_runtime_zip()
                share_once(aws, zipped, shared, bucket, f"{key}/{RUNTIME_ZIP}", **keys)
            upload_once(aws, assets, bucket, key, skips=RUNTIME_ZIP if is_shared else "", **keys)
    finally:
        aws.close()
    root = f"s3://{bucket}/{PREFIX}"
    return complete, Site(
        assets_uri=f"s3://{bucket}/{key}", output_uri=f"{root}/jobs", checkpoint_uri=f"{root}/checkpoints"
    )


def mark_source(template: JobTemplate, assets_uri: str, sweep_id: str, environ: Mapping[str, str]) -> None:
    """Mark uploaded assets as used by a sweep, so that other sweeps' users do not delete them.

    Args:
        template: The job template, with the KMS key of the objects.
        assets_uri: `Site.assets_uri`. Nothing happens for a URI outside of ASSETS.
        sweep_id: The sweep.
        environ: The user's environment variables.

    Raises:
        JobError: If the marker cannot be written.
    """
    bucket, _, key = assets_uri.removeprefix("s3://").partition("/")
    if not assets_uri.startswith("s3://") or not key.startswith(f"{ASSETS}/"):
        return
    with closing(Aws(environ)) as aws:
        kms_key = template.request.get("OutputDataConfig", {}).get("KmsKeyId", "")
        put_empty(aws, bucket, f"{SOURCE_USERS}{key.removeprefix(ASSETS)}/{sweep_id}", kms_key=kms_key)


def completed_request(template: JobTemplate, region: str) -> dict[str, Any]:
    """Return the template's request with its image. Raises JobRejected without a role, or if AWS has no image."""
    request = dict(template.request)
    if "RoleArn" not in request:
        raise JobRejected("SageMaker: no role; give role: arn:aws:iam::ACCOUNT:role/NAME in job.yaml")
    algorithm = dict(request.get("AlgorithmSpecification", {}))
    if "TrainingImage" not in algorithm and template.framework:
        algorithm["TrainingImage"] = image_uri(template.framework, region, machines(request))
    if not template.runs_image:
        algorithm.setdefault("ContainerArguments", list(FLAGS))
    return {**request, "AlgorithmSpecification": algorithm}


def bucket_of(request: Mapping[str, Any], region: str) -> tuple[str, str]:
    """Return the bucket, and the account that must own it; "" if the user has named the bucket."""
    output = urlsplit(request.get("OutputDataConfig", {}).get("S3OutputPath", ""))
    if output.scheme == "s3":
        return output.netloc, ""
    account = request["RoleArn"].split(":")[4]
    return f"sagemaker-{region}-{account}", account
