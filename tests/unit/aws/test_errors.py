"""Translation of AWS errors and job failures."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ReadTimeoutError

from smsweep import errors
from smsweep.aws.errors import no_credentials, translate
from smsweep.backends.sagemaker.backend import quota_exceeded
from smsweep.backends.sagemaker.cloudwatch import parse_cursor, write_cursor
from smsweep.backends.sagemaker.status import exit_code, failure_class, log_url, short_reason
from smsweep.core.failure_kind import RETRIES


def refusal(code: str, message: str = "no", status: int = 400) -> ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "CreateTrainingJob")  # type: ignore[arg-type]  # the part that is read


@pytest.mark.parametrize(
    ("err", "kind"),
    [
        (refusal("ThrottlingException"), errors.Throttled),
        (refusal("ResourceLimitExceeded"), errors.QuotaExceeded),
        (refusal("AccessDeniedException"), errors.AccessDenied),
        (refusal("ExpiredTokenException", status=403), errors.BadCredentials),
        (refusal("UnrecognizedClientException"), errors.BadCredentials),
        (refusal("InternalFailure", status=500), errors.BackendUnavailable),
        (refusal("ValidationException"), errors.JobRejected),
        (NoCredentialsError(), errors.BadCredentials),
        (ReadTimeoutError(endpoint_url="https://x"), errors.BackendUnavailable),
    ],
)
def test_each_aws_error_maps_to_its_exception(err: ClientError, kind: type[Exception]) -> None:
    assert type(translate(err, "sagemaker:CreateTrainingJob")) is kind


def test_message_of_credential_process_is_one_line() -> None:
    assert str(no_credentials("Error from custom-process: expired,\n  log in\n")).startswith(
        "AWS credentials: Error from custom-process: expired, log in; refresh them "
    )


def test_error_lists_only_similar_instance_types() -> None:
    machines = [f"ml.{family}{size}.{n}xlarge" for family in "cgmpr" for size in range(3, 9) for n in (2, 4, 8)]
    place = "at 'resourceConfig.instanceType' failed to satisfy constraint: Member must satisfy enum value set: "
    message = f"1 validation error detected: Value 'ml.g5.3xlarge' {place}[{', '.join(machines)}]; and more"
    text = str(translate(refusal("ValidationException", message), "sagemaker:CreateTrainingJob"))
    assert f"Value 'ml.g5.3xlarge' {place}[" in text
    assert "ml.g5.2xlarge" in text
    assert text.endswith(", ... 90 in all]; and more")
    assert len(text) < 400
    few = message.replace(", ".join(machines), "a, b")
    assert few in str(translate(refusal("ValidationException", few), "sagemaker:CreateTrainingJob"))


def test_denial_names_missing_action() -> None:
    message = (
        "User: x is not authorized to perform: iam:PassRole on resource: arn:aws:iam::1:role/r because no policy"
    )
    text = str(translate(refusal("AccessDeniedException", message), "sagemaker:CreateTrainingJob"))
    assert '{"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::1:role/r"} to your' in text


def test_denial_without_message_names_iam_action() -> None:
    text = str(translate(refusal("403", "Forbidden", status=403), "s3:HeadObject"))
    assert '"Action": "s3:GetObject"' in text


@pytest.mark.parametrize(
    ("why", "fix"),
    [
        (
            "because no identity-based policy allows the s3:PutObject action",
            'add {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::b/k"} to your policy',
        ),
        (
            "because no permissions boundary allows the s3:PutObject action",
            '"Resource": "arn:aws:s3:::b/k"} to the permissions boundary',
        ),
        (
            "with an explicit deny in a service control policy",
            "a service control policy denies it explicitly: remove s3:PutObject on arn:aws:s3:::b/k from its Deny",
        ),
        ("with an explicit deny in an identity-based policy", "an identity-based policy denies it explicitly"),
    ],
)
def test_s3_denial_names_fix_for_its_cause(why: str, fix: str) -> None:
    message = f'User: x is not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::b/k" {why}'
    text = str(translate(refusal("AccessDenied", message, status=403), "s3:PutObject"))
    assert fix in text.splitlines()[1]


@pytest.mark.parametrize(
    ("reason", "secondary", "kind"),
    [
        ("CapacityError: Unable to provision requested ML compute capacity.", "Failed", "capacity"),
        ("InternalServerError: We encountered an internal error.", "Failed", "internal"),
        ("AlgorithmError: ValueError: no, exit code: 1", "Failed", "user"),
        ("AlgorithmError: torch.cuda.OutOfMemoryError: CUDA out of memory, exit code: 1", "Failed", "oom"),
        ("AlgorithmError: x, exit code: 137", "Failed", "oom"),
        ("AlgorithmError: RuntimeError: CUDA error: out of memory, exit code: 1", "Failed", "oom"),
        ("AlgorithmError: ResourceExhaustedError: OOM when allocating tensor with shape[64]", "Failed", "oom"),
        ("AlgorithmError: XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying", "Failed", "oom"),
        ("AlgorithmError: DataLoader worker (pid 7) is killed by signal: Killed., exit code: 1", "Failed", "oom"),
        ("AlgorithmError: OSError: [Errno 12] Cannot allocate memory, exit code: 1", "Failed", "oom"),
        ("AlgorithmError: terminate called after throwing std::bad_alloc, exit code: 134", "Failed", "oom"),
        ("AlgorithmError: Exit Code: 139", "Failed", "user"),
        ("ClientError: Artifact upload failed: No space left on device", "Failed", "disk"),
        ("ClientError: Data download failed:Insufficient disk space", "Failed", "disk"),
        ("", "MaxRuntimeExceeded", "timeout"),
    ],
)
def test_each_failed_job_has_failure_class(reason: str, secondary: str, kind: str) -> None:
    status = "Stopped" if secondary.startswith("Max") else "Failed"
    document = {"TrainingJobStatus": status, "SecondaryStatus": secondary, "FailureReason": reason}
    assert failure_class(document) == kind
    assert kind in RETRIES


def test_failure_reason_has_message_of_script() -> None:
    reason = "AlgorithmError: ValueError: no such optimizer, exit code: 7"
    assert short_reason(reason) == "ValueError: no such optimizer"
    assert exit_code(reason) == 7


@pytest.mark.parametrize("reason", ["AlgorithmError: Exit Code: 139", "AlgorithmError: , exit code: 139"])
def test_job_without_message_has_exit_code_as_reason(reason: str) -> None:
    assert short_reason(reason) == "exit code 139"


def test_cursor_of_several_streams_round_trips() -> None:
    cursor = {"algo-1-1700000000": (1_700_000_012_345, 2), "algo-2-1700000000": (1_700_000_000_000, 1)}
    assert parse_cursor(write_cursor(cursor)) == cursor
    assert parse_cursor("") == {}


def test_log_url_uses_console_of_partition() -> None:
    arn = "arn:aws-cn:sagemaker:cn-north-1:123456789012:training-job/x"
    assert log_url(arn, "x").startswith(
        "https://cn-north-1.console.amazonaws.cn/cloudwatch/home?region=cn-north-1"
    )


LIMIT = (
    "The account-level service limit '{}' is {} {}, with current utilization of {} {} and a request delta of {} {}"
)
ADVICE = ". Please use AWS Service Quotas to request an increase for this quota."


@pytest.mark.parametrize(
    ("name", "unit", "limit", "used", "delta", "learned", "is_hopeless"),
    [
        ("ml.g5.xlarge for training job usage", "Instances", 3, 3, 1, 3, False),
        ("ml.g5.xlarge for training job usage", "Instances", 3, 0, 4, 3, True),
        ("ml.p4d.24xlarge for spot training job usage", "Instances", 0, 0, 1, 0, True),
        ("Longest run time for a training job", "Seconds", 432_000, 0, 864_000, None, True),
    ],
)
def test_quota_is_learned_and_insufficient_quota_is_reported(
    name: str, unit: str, limit: int, used: int, delta: int, learned: int | None, is_hopeless: bool
) -> None:
    message = LIMIT.format(name, limit, unit, used, unit, delta, unit)
    found = quota_exceeded(refusal("ResourceLimitExceeded", message + ADVICE))
    assert found.limit == learned
    assert ("exceeds the limit" in str(found)) is is_hopeless
    assert str(found).startswith(f"waiting for quota: {message}")
