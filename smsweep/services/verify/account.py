"""The account of a run: its region, its price and its quotas. All calls are free and change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.client import Aws
from smsweep.aws.errors import code_of
from smsweep.aws.job_template import bucket_of
from smsweep.aws.options import emulator_url
from smsweep.aws.prices import ask_price, ask_quotas
from smsweep.core.job import JobTemplate
from smsweep.errors import SmsweepError, UsageError
from smsweep.services.verify.session import AWS, EMULATOR, Facts


def find_account(
    backend: str, template: JobTemplate, environ: Mapping[str, str], instance_type: str, *, runs_jobs: bool
) -> Facts:
    """Return the facts of a run in an account.

    Args:
        backend: The backend.
        template: The user's job.yaml.
        environ: The user's environment variables.
        instance_type: The type of all instances.
        runs_jobs: Check the bucket, and read the price and the quotas. A cleanup needs none of them.

    Raises:
        UsageError: If the price is unknown, or the role or the bucket is of another account or region.
        JobError: If the account cannot be reached.
    """
    with closing(Aws(environ)) as aws:
        aws.check()
        if not aws.region:
            raise UsageError("AWS: no region; set AWS_REGION, or add --region")
        account = str(aws.translated("sts", "get_caller_identity")["Account"])
        owner = str(template.request["RoleArn"]).split(":")[4]
        if owner != account:
            raise UsageError(
                f"job.yaml: the role is in account {owner}, but your credentials are for {account}; use a role of "
                "your account"
            )
        known = Facts(
            backend=backend,
            place=EMULATOR if emulator_url(environ) else AWS,
            region=aws.region,
            account=account,
            instance_type=instance_type,
            runs_images=not emulator_url(environ),
        )
        if not runs_jobs:
            return known
        _check_bucket(aws, template)
        limits = f"{instance_type} for training job usage", f"{instance_type} for training warm pool usage"
        try:
            quotas = ask_quotas(aws, limits)
        except SmsweepError:
            quotas = {}
        return replace(
            known,
            price_per_hour=_price(template, environ, instance_type),
            quota=quotas.get(limits[0]),
            warm_pool_quota=quotas.get(limits[1]),
        )


def _price(template: JobTemplate, environ: Mapping[str, str], instance_type: str) -> float:
    """Return the price of an instance: from AWS's list, or from a job.yaml that has the same type."""
    own = template.request.get("ResourceConfig", {}).get("InstanceType")
    wanted = replace(template, request={**template.request, "ResourceConfig": {"InstanceType": instance_type}})
    try:
        return ask_price(wanted, environ).per_hour
    except SmsweepError as err:
        if template.price is not None and own == instance_type:
            return template.price.per_hour
        raise UsageError(
            f"{instance_type}: its price is unknown, so the run cannot keep a cap ({err}); allow "
            "pricing:GetProducts, or use a job.yaml with price_per_hour and the same instance_type"
        ) from err


def _check_bucket(aws: Aws, template: JobTemplate) -> None:
    """Raise UsageError if the bucket does not exist, or is not in the region of the jobs."""
    bucket, owner = bucket_of(template.request, aws.region)
    guard = {"ExpectedBucketOwner": owner} if owner else {}
    try:
        found = aws.call("s3", "head_bucket", Bucket=bucket, **guard)
    except (BotoCoreError, ClientError) as err:
        if isinstance(err, ClientError) and code_of(err) in ("404", "NoSuchBucket", "301"):
            raise UsageError(
                f"bucket {bucket}: does not exist in {aws.region}; create it, or set output_path in job.yaml"
            ) from err
        raise aws.error(err, "s3", "head_bucket") from err
    region = found.get("BucketRegion") or aws.region
    if region != aws.region:
        raise UsageError(
            f"bucket {bucket}: is in {region}, but the jobs run in {aws.region}; add --region {region}"
        )
