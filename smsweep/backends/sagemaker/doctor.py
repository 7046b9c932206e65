"""Checks of AWS resources for `smsweep doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from smsweep.aws.client import Aws
from smsweep.aws.errors import code_of
from smsweep.aws.job_template import AGENTS, bucket_of
from smsweep.backends.base import Check
from smsweep.core.job import JobTemplate
from smsweep.errors import SmsweepError

NO_RULES = "NoSuchLifecycleConfiguration"


def diagnose(template: JobTemplate, environ: Mapping[str, str]) -> Iterator[Check]:
    """Yield a check of the bucket that holds the stores of detached sweeps.

    A versioned bucket keeps each version of a store that an agent saves, up to one every two seconds. A template
    without a role does not run on AWS, so nothing is checked.
    """
    if "RoleArn" not in template.request:
        return
    aws = Aws(environ)
    try:
        bucket, _ = bucket_of(template.request, aws.region)
        what = f"lifecycle rule of bucket {bucket}"
        status = aws.translated("s3", "get_bucket_versioning", Bucket=bucket).get("Status", "")
        if status != "Enabled":
            yield Check(what=what, found="not needed: the bucket is not versioned", is_ok=True, is_required=False)
        elif any(_expires(rule) for rule in _rules(aws, bucket)):
            yield Check(what=what, found=f"expires old versions below {AGENTS}/", is_ok=True, is_required=False)
        else:
            yield Check(
                what=what,
                found="the bucket is versioned and keeps each version of a detached sweep's store",
                is_ok=False,
                is_required=False,
                cure=f"add a rule that expires noncurrent versions below {AGENTS}/ after 1 day, or detach with a "
                "PostgreSQL store",
            )
    except SmsweepError as err:
        found, _, cure = str(err).partition("\n" if "\n" in str(err) else "; ")
        cure = cure or "check output_path in job.yaml"
        yield Check(what="bucket of detached sweeps", found=found, is_ok=False, cure=cure, is_required=False)
    finally:
        aws.close()


def _rules(aws: Aws, bucket: str) -> Sequence[Mapping[str, Any]]:
    try:
        return aws.call("s3", "get_bucket_lifecycle_configuration", Bucket=bucket)["Rules"]
    except ClientError as err:
        if code_of(err) == NO_RULES:
            return []
        raise aws.error(err, "s3", "get_bucket_lifecycle_configuration") from err


def _expires(rule: Mapping[str, Any]) -> bool:
    """Return True if a rule expires the old versions of agents' objects."""
    condition = rule.get("Filter", {})
    narrower = {"Tag", "And", "ObjectSizeGreaterThan", "ObjectSizeLessThan"} & condition.keys()
    prefix = str(condition.get("Prefix", rule.get("Prefix", "")))
    return (
        rule["Status"] == "Enabled"
        and "NoncurrentVersionExpiration" in rule
        and not narrower
        and f"{AGENTS}/".startswith(prefix)
    )
