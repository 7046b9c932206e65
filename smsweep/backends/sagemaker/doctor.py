"""Read-only checks of `smsweep doctor` for SageMaker: credentials, role, bucket, image, quota and logs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.client import Aws
from smsweep.aws.errors import code_of
from smsweep.aws.image_uris import ECR
from smsweep.aws.job_template import AGENTS, ASSETS, bucket_of, completed_request
from smsweep.aws.options import emulator_url
from smsweep.aws.prices import ask_quotas, training_quotas, warm_pool_quotas
from smsweep.backends.base import Check
from smsweep.backends.sagemaker.status import LOG_GROUP
from smsweep.core.job import JobTemplate, instance_count
from smsweep.errors import AccessDenied, JobRejected, SmsweepError

NO_RULES = "NoSuchLifecycleConfiguration"
NO_BUCKET = ("404", "NoSuchBucket", "NotFound")
NO_ROLE = "NoSuchEntity"
NO_IMAGE = ("RepositoryNotFoundException", "ImageNotFoundException")
NO_LOGS = "ResourceNotFoundException"
NO_ETAG = "0" * 32  # the checksum of no object
SERVICE = "sagemaker.amazonaws.com"
ASSUME = ("sts:assumerole", "sts:*", "*")
PLACE = re.compile(r"/(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?\Z")
POLICY = "add the permission to your policy (`smsweep iam --of launcher`)"
NEEDS_JOB = "role, bucket, image and quota"


def diagnose(template: JobTemplate, environ: Mapping[str, str]) -> Iterator[Check]:
    """Yield the checks of the AWS account, and of the resources that a template names.

    Without a region or credentials, the other checks are impossible and absent.
    """
    with closing(Aws(environ)) as aws:
        access = list(_access(aws, environ))
        yield from access
        if not all(check.is_ok for check in access):
            return
        yield _logs(aws)
        request = template.request
        if "RoleArn" not in request:
            yield _no_role(template)
            return
        account = access[-1].result.split(":")[4]  # of the ARN
        yield _role(aws, str(request["RoleArn"]), account)
        yield from _bucket(aws, template)
        yield check_image(aws, template, account)
        yield from _quotas(aws, template)


def _access(aws: Aws, environ: Mapping[str, str]) -> Iterator[Check]:
    """Yield the checks without which AWS cannot be called."""
    try:
        region, problem = aws.region, ""
    except SmsweepError as err:
        region, problem = "", str(err)
    if region:
        url = emulator_url(environ)
        yield Check(what="AWS region", result=f"{region}{f' of the emulator at {url}' if url else ''}", is_ok=True)
    else:
        message, _, fix = problem.partition("; ")
        fix = fix or "set AWS_REGION, or region in your AWS profile"
        yield Check(what="AWS region", result=message or "none", is_ok=False, fix=fix)
    what = "AWS credentials"
    try:
        aws.check_credentials()
        state = str(aws.translated("sts", "get_caller_identity")["Arn"]) if region else "present, not checked"
        yield Check(what=what, result=state, is_ok=True)
    except SmsweepError as err:
        yield _failure(what, err, "check the credentials with `aws sts get-caller-identity`")


def _no_role(template: JobTemplate) -> Check:
    if template.document:
        fix = "add role: arn:aws:iam::ACCOUNT:role/NAME to job.yaml"
        return Check(what="execution role", result="job.yaml has no role", is_ok=False, fix=fix)
    return Check(
        what="job.yaml",
        result=f"no file was given, so {NEEDS_JOB} were not checked",
        is_ok=False,
        is_required=False,
        is_known=False,
        fix="add --job job.yaml",
    )


def _role(aws: Aws, arn: str, account: str) -> Check:
    what, owner, name = f"execution role {arn}", arn.split(":")[4], arn.rpartition("/")[2]
    if owner != account:
        problem = f"the role is in account {owner}, but your credentials are for {account}"
        fix = "use a role of your account, or credentials for the role's account"
        return Check(what=what, result=problem, is_ok=False, fix=fix)
    try:
        role = aws.call("iam", "get_role", RoleName=name)["Role"]
    except (BotoCoreError, ClientError) as err:
        if isinstance(err, ClientError) and code_of(err) == NO_ROLE:
            fix = f"create it with {SERVICE} in its trust policy and the policy of `smsweep iam --of role`"
            return Check(what=what, result="does not exist", is_ok=False, fix=fix)
        return _unknown(what, aws.error(err, "iam", "get_role"))
    policy: Any = role.get("AssumeRolePolicyDocument") or {}  # botocore decodes the JSON
    if trusts_sagemaker(policy):
        return Check(what=what, result="exists, and SageMaker can assume it", is_ok=True)
    return Check(
        what=what,
        result=f"its trust policy does not allow {SERVICE} to assume it",
        is_ok=False,
        fix=f'add {{"Effect": "Allow", "Principal": {{"Service": "{SERVICE}"}}, "Action": "sts:AssumeRole"}} '
        "to its trust policy",
    )


def trusts_sagemaker(policy: Mapping[str, Any]) -> bool:
    """Return True if a trust policy allows SageMaker to assume its role. Conditions are not evaluated."""
    return any(map(_lets_assume, _listed(policy.get("Statement", ()))))


def _lets_assume(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal", {})
    services = _listed(principal.get("Service", ()) if isinstance(principal, Mapping) else principal)
    actions = {str(action).lower() for action in _listed(statement.get("Action", ()))}
    return (
        statement.get("Effect") == "Allow" and bool({SERVICE, "*"} & set(services)) and bool(actions & {*ASSUME})
    )


def _listed(value: Any) -> list[Any]:
    """Return the items of a list of a policy, which can be a single item instead."""
    return [value] if isinstance(value, (str, Mapping)) else list(value)


def _bucket(aws: Aws, template: JobTemplate) -> Iterator[Check]:
    bucket, owner = bucket_of(template.request, aws.region)
    what, guard = f"bucket {bucket}", {"ExpectedBucketOwner": owner} if owner else {}
    try:
        answer: Any = aws.call("s3", "head_bucket", Bucket=bucket, **guard)
    except (BotoCoreError, ClientError) as err:
        if isinstance(err, ClientError) and code_of(err) in NO_BUCKET:
            fix = f"create it with `aws s3 mb s3://{bucket}`, or set output_path: s3://BUCKET/PREFIX in job.yaml"
            yield Check(what=what, result="does not exist", is_ok=False, fix=fix)
            return
        refused = aws.error(err, "s3", "head_bucket")
        if not isinstance(refused, AccessDenied):
            yield _failure(what, refused, POLICY)
            return
        answer = {}  # s3:ListBucket is missing, but the upload may be allowed
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = answer.get("BucketRegion") or headers.get("x-amz-bucket-region") or aws.region
    if region != aws.region:
        problem = f"is in {region}, but the jobs run in {aws.region}"
        fix = f"set AWS_REGION={region}, or output_path in job.yaml to a bucket in {aws.region}"
        yield Check(what=what, result=problem, is_ok=False, fix=fix)
        return
    yield _can_write(aws, bucket, what, guard)
    yield check_lifecycle(aws, bucket)


def _can_write(aws: Aws, bucket: str, what: str, guard: Mapping[str, str]) -> Check:
    """Check s3:PutObject with a write that S3 never performs, because its condition is false."""
    key = f"{ASSETS}/doctor"
    try:
        aws.call("s3", "put_object", Bucket=bucket, Key=key, Body=b"", IfMatch=NO_ETAG, **guard)
    except (BotoCoreError, ClientError) as err:
        refused = aws.error(err, "s3", "put_object")
        if isinstance(refused, JobRejected):  # the condition is checked after the permission
            return Check(what=what, result=f"exists in {aws.region}, and you can write to it", is_ok=True)
        return _failure(what, refused, POLICY)
    return Check(what=what, result=f"exists in {aws.region}, and you can write to it", is_ok=True)


def check_lifecycle(aws: Aws, bucket: str) -> Check:
    """Check that a bucket expires old versions of the stores of detached sweeps.

    A versioned bucket keeps each version of a store that an agent saves, up to one every two seconds.
    """
    what = f"lifecycle rule of bucket {bucket}"
    try:
        status = aws.translated("s3", "get_bucket_versioning", Bucket=bucket).get("Status", "")
        if status != "Enabled":
            return Check(
                what=what, result="not needed: the bucket is not versioned", is_ok=True, is_required=False
            )
        if any(_expires(rule) for rule in _rules(aws, bucket)):
            return Check(what=what, result=f"expires old versions below {AGENTS}/", is_ok=True, is_required=False)
    except SmsweepError as err:
        return _unknown(what, err)
    return Check(
        what=what,
        result="the bucket is versioned and keeps each version of a detached sweep's store",
        is_ok=False,
        is_required=False,
        fix=f"add a rule that expires noncurrent versions below {AGENTS}/ after 1 day, or detach with a "
        "PostgreSQL store",
    )


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


def check_image(aws: Aws, template: JobTemplate, account: str) -> Check:
    """Check that the image exists. ECR is called only for images of the account of the credentials."""
    try:
        algorithm = completed_request(template, aws.region)["AlgorithmSpecification"]
    except JobRejected as err:
        return _failure("image", err, "set image_uri in job.yaml")
    image = str(algorithm.get("TrainingImage", ""))
    if not image:
        if algorithm.get("AlgorithmName"):
            name = algorithm["AlgorithmName"]
            return Check(what="image", result=f"chosen by algorithm {name}", is_ok=True, is_required=False)
        fix = "set image_uri, or framework and its versions, in job.yaml"
        return Check(what="image", result="job.yaml names none", is_ok=False, fix=fix)
    what, registry = f"image {image}", ECR.match(image)
    if registry is None:
        problem = "is not in ECR, so only the job can check it"
        return _not_checked(what, problem, "SageMaker reads other registries only in a VPC; push it to ECR")
    if registry["region"] != aws.region:
        problem = f"is in {registry['region']}, but the jobs run in {aws.region}"
        fix = f"push the image to ECR in {aws.region}"
        return Check(what=what, result=problem, is_ok=False, is_required=False, fix=fix)
    if registry["account"] != account:
        if template.framework:
            return Check(what=what, result="is AWS's image for the framework", is_ok=True, is_required=False)
        problem = f"is in account {registry['account']}, so only the job can check it"
        return _not_checked(what, problem, "make sure that the execution role can pull it")
    return _own_image(aws, what, image[registry.end() :], account)


def _own_image(aws: Aws, what: str, name: str, account: str) -> Check:
    place = PLACE.match(name)
    if place is None:
        fix = "set image_uri in job.yaml to ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG"
        return Check(what=what, result="is not a valid image URI", is_ok=False, fix=fix)
    digest = {"imageDigest": place["digest"]} if place["digest"] else {"imageTag": place["tag"] or "latest"}
    try:
        aws.call(
            "ecr",
            "describe_images",
            registryId=account,
            repositoryName=place["repository"],
            imageIds=[digest],
        )
    except (BotoCoreError, ClientError) as err:
        if isinstance(err, ClientError) and code_of(err) in NO_IMAGE:
            part = "repository" if code_of(err) == NO_IMAGE[0] else "image"
            problem = f"ECR has no such {part}"
            fix = "push the image, or correct image_uri in job.yaml"
            return Check(what=what, result=problem, is_ok=False, fix=fix)
        return _unknown(what, aws.error(err, "ecr", "describe_images"))
    return Check(what=what, result="exists in ECR", is_ok=True)


def _quotas(aws: Aws, template: JobTemplate) -> Iterator[Check]:
    request = template.request
    jobs, pools = training_quotas(request), warm_pool_quotas(request)
    needed = instance_count(request.get("ResourceConfig", {}))
    try:
        values = ask_quotas(aws, [*jobs, *pools])
    except SmsweepError as err:
        yield _unknown("instance quota", err)
        return
    for name in (*jobs, *pools):
        what, value = f"quota {name}", values.get(name)
        limit = "1 instance" if value == 1 else f"{value:g} instances" if value is not None else ""
        if value is None:
            fix = "look it up in the AWS console, under Service Quotas, Amazon SageMaker"
            yield _not_checked(what, "Service Quotas does not list it", fix)
        elif value < needed:
            yield Check(
                what=what,
                result=f"{limit}, but a job needs {needed}",
                is_ok=False,
                is_required=name in jobs and len(jobs) == 1,  # SageMaker can use another type
                fix=f"request {needed} or more in AWS Service Quotas"
                + (", or set another instance_type in job.yaml" if name in jobs else ""),
            )
        else:
            yield Check(what=what, result=limit, is_ok=True)


def _logs(aws: Aws) -> Check:
    what = f"CloudWatch log group {LOG_GROUP}"
    try:
        aws.call("logs", "filter_log_events", logGroupName=LOG_GROUP, limit=1)
    except (BotoCoreError, ClientError) as err:
        if isinstance(err, ClientError) and code_of(err) == NO_LOGS:
            return Check(what=what, result="does not exist yet; the first job creates it", is_ok=True)
        return _failure(what, aws.error(err, "logs", "filter_log_events"), POLICY)
    return Check(what=what, result="can be read", is_ok=True)


def _failure(what: str, err: Exception, fix: str) -> Check:
    problem, advice = _split(err)
    return Check(what=what, result=problem.removeprefix(f"{what}: "), is_ok=False, fix=advice or fix)


def _unknown(what: str, err: Exception) -> Check:
    """Return the result of a check that AWS does not answer. Jobs can still run."""
    problem, advice = _split(err)
    return _not_checked(what, problem, advice or POLICY)


def _not_checked(what: str, problem: str, fix: str) -> Check:
    return Check(what=what, result=problem, is_ok=False, is_required=False, is_known=False, fix=fix)


def _split(err: Exception) -> tuple[str, str]:
    """Return the problem and the advice of an error, each in one line."""
    problem, _, advice = str(err).partition("\n" if "\n" in str(err) else "; ")
    return problem, " ".join(advice.split())
