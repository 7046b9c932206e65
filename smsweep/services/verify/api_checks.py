"""Checks of the answers of SageMaker's API, S3 and IAM."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import pairwise
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws import iam_policy
from smsweep.aws.errors import code_of, message_of, translate
from smsweep.aws.iam_policy import scope_of
from smsweep.aws.options import DEFAULT_RATES
from smsweep.backends.sagemaker.backend import QUOTA
from smsweep.errors import AccessDenied, Throttled
from smsweep.services.verify.assumption import Assumption, Observed
from smsweep.services.verify.run_state import TAG
from smsweep.services.verify.session import NotVerified, Session, job_seconds

API = "smsweep/emulator/api/training_jobs.py"
PAGING = "smsweep/emulator/api/paging.py"
RULES = "smsweep/aws/request_rules.py"
VALIDATION = "smsweep/emulator/api/validation.py"
S3 = "smsweep/emulator/api/app.py"
NO_JOB = "Requested resource not found."
BURST = 30  # most calls of one operation in a row
EVENT = "SageMaker Training Job State Change"
EVENT_S = 120  # how long an event can take
REFUSED_RUN_S = 60  # limit of a job that must be refused
Request = Mapping[str, Any]
Change = Callable[[Session, Request], Request]  # returns the fields of a request that are wrong


def answer(session: Session, service: str, operation: str, **arguments: Any) -> tuple[str, str, dict[str, Any]]:
    """Make a call, and return error code, error message and answer. The code is "" without an error.

    Raises:
        NotVerified: If the call has no answer of AWS, or the credentials may not make it.
    """
    try:
        return "", "", dict(session.aws.call(service, operation, **arguments))
    except ClientError as err:
        code = code_of(err)
        if code in ("AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "ThrottlingException"):
            raise NotVerified(f"{service}:{operation}: {code}: {message_of(err)}") from err
        return code, message_of(err), {}
    except BotoCoreError as err:
        raise NotVerified(f"{service}:{operation}: {err}") from err


def unknown_job(session: Session) -> Observed:
    name = f"smsweep-{session.state.run}-none"
    described = answer(session, "sagemaker", "describe_training_job", TrainingJobName=name)
    stopped = answer(session, "sagemaker", "stop_training_job", TrainingJobName=name)
    return {
        "describe_code": described[0],
        "describe_message": described[1],
        "stop_code": stopped[0],
        "stop_message": stopped[1],
    }


def conditional_write(session: Session) -> Observed:
    bucket, _, key = f"{session.uri}/conditional".removeprefix("s3://").partition("/")
    where = {"Bucket": bucket, "Key": key, "Body": b"1"}
    first = answer(session, "s3", "put_object", **where, IfNoneMatch="*")
    second = answer(session, "s3", "put_object", **where, IfNoneMatch="*")
    other = answer(session, "s3", "put_object", **where, IfMatch="0" * 32)
    return {"first_code": first[0], "second_code": second[0], "wrong_etag_code": other[0]}


def bucket_owner(session: Session) -> Observed:
    bucket, _, key = f"{session.uri}/owned".removeprefix("s3://").partition("/")
    foreign = "999999999999" if session.facts.account != "999999999999" else "888888888888"
    try:
        session.aws.call("s3", "put_object", Bucket=bucket, Key=key, Body=b"1", ExpectedBucketOwner=foreign)
    except ClientError as err:
        return {"code": code_of(err)}
    return {"code": ""}


def no_log(session: Session) -> Observed:
    code, message, page = answer(
        session,
        "logs",
        "filter_log_events",
        logGroupName="/aws/sagemaker/TrainingJobs",
        logStreamNamePrefix=f"smsweep-{session.state.run}-none/",
    )
    has_group = code != "ResourceNotFoundException"
    return {"code": code if has_group else "", "message": message, "events": len(page.get("events", ()))}


def list_order(session: Session) -> Observed:
    _, _, page = answer(session, "sagemaker", "list_training_jobs", MaxResults=5)
    times = [summary["CreationTime"] for summary in page["TrainingJobSummaries"]]
    if len(times) < 2:
        raise NotVerified("the account has fewer than two training jobs")
    _, _, short = answer(session, "sagemaker", "list_training_jobs", MaxResults=1)
    _, _, second = answer(session, "sagemaker", "list_training_jobs", MaxResults=1, NextToken=short["NextToken"])
    bad = answer(session, "sagemaker", "list_training_jobs", NextToken="bad")  # nosec B106 - not a secret
    _, _, stopped = answer(session, "sagemaker", "list_training_jobs", StatusEquals="Stopped", MaxResults=2)
    return {
        "is_newest_first": all(later >= earlier for later, earlier in pairwise(times)),
        "second_page_has_the_next": second["TrainingJobSummaries"] == page["TrainingJobSummaries"][1:2],
        "wrong_page_code": bad[0],
        "wrong_page_message": bad[1],
        "filtered_statuses": sorted({job["TrainingJobStatus"] for job in stopped["TrainingJobSummaries"]}),
        "filtered_page_can_be_short": "NextToken" in stopped and len(stopped["TrainingJobSummaries"]) < 2,
    }


def simulated_policies(session: Session) -> Observed:
    """Ask IAM what the printed policies of one sweep allow."""
    own, other = session.state.run, "vrfy0000" if session.state.run != "vrfy0000" else "vrfy0001"
    allowed: dict[str, list[str]] = {"refused": [], "allowed_for_another_sweep": []}
    for name, grants in (("launcher", iam_policy.LAUNCHER), ("role", iam_policy.ROLE)):
        scope = scope_of(session.template, session.facts.region, sweep=own)
        policy = iam_policy.policy(grants, [scope])
        for statement in (each for each in policy["Statement"] if each["Effect"] == "Allow"):
            for action, resource in _cases(statement, own):
                if not _is_allowed(session, policy, action, resource, statement):
                    allowed["refused"].append(f"{name}: {action} on {resource}")
                if own in resource and _is_allowed(
                    session, policy, action, resource.replace(own, other), statement
                ):
                    allowed["allowed_for_another_sweep"].append(f"{name}: {action}")
    return allowed


def _cases(statement: Mapping[str, Any], run: str) -> Iterator[tuple[str, str]]:
    """Yield each action of a statement with an example of one of its resources."""
    resource = next((arn for arn in statement["Resource"] if run in arn), statement["Resource"][0])
    for action in statement["Action"]:
        yield action, resource.replace("*", "1") if resource != "*" else "*"


def _is_allowed(
    session: Session, policy: Mapping[str, Any], action: str, resource: str, statement: Mapping[str, Any]
) -> bool:
    entries = [
        {
            "ContextKeyName": key,
            "ContextKeyValues": [str(value).replace("*", "TrainingJobs")],
            "ContextKeyType": "string",
        }
        for rule in statement.get("Condition", {}).values()
        for key, value in rule.items()
    ]
    code, message, found = answer(
        session,
        "iam",
        "simulate_custom_policy",
        PolicyInputList=[json.dumps(policy)],
        ActionNames=[action],
        ResourceArns=[resource],
        ContextEntries=entries,
    )
    if code:
        raise NotVerified(f"iam:SimulateCustomPolicy: {code}: {message}")
    return bool(found["EvaluationResults"][0]["EvalDecision"] == "allowed")


def refused(change: Change) -> Callable[[Session], Observed]:
    """Return a function that creates a job which SageMaker must refuse. An accepted job is stopped at once."""

    def observe(session: Session) -> Observed:
        request = session.request("probe", max_run_s=REFUSED_RUN_S)
        request |= change(session, request)
        code, message, found = answer(session, "sagemaker", "create_training_job", **request)
        if found:
            session.aws.translated("sagemaker", "stop_training_job", TrainingJobName=request["TrainingJobName"])
        return {"code": code or "accepted", "message": message}

    return observe


def _refusal(name: str, statement: str, change: Change, message: str, file: str = RULES) -> Assumption:
    """Return a check of a request that SageMaker refuses.

    Args:
        name: The end of the check's id.
        statement: The assumption.
        change: Returns the wrong fields of the request.
        message: A pattern of the whole message.
        file: The file that encodes the assumption.
    """
    return Assumption(
        id=f"refuses-{name}",
        statement=statement,
        calls="CreateTrainingJob with a wrong request; a job that AWS starts all the same is stopped at once",
        observe=refused(change),
        expected={"code": "ValidationException", "message": re.compile(message, re.DOTALL)},
        file=file,
        worst_s=lambda facts: job_seconds(REFUSED_RUN_S),
    )


def channel(uri: str, name: str = "train") -> dict[str, Any]:
    """Return an input channel with all objects below a prefix."""
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def _twice(session: Session, request: Request) -> Request:
    same = channel(f"{session.uri}/")
    return {"InputDataConfig": [*request["InputDataConfig"], same, same]}


def _empty_channel(session: Session, request: Request) -> Request:
    return {"InputDataConfig": [*request["InputDataConfig"], channel(f"{session.uri}/nothing/")]}


def _bad_regex(session: Session, request: Request) -> Request:
    definitions = [{"Name": "loss", "Regex": "loss=("}]
    return {"AlgorithmSpecification": {**request["AlgorithmSpecification"], "MetricDefinitions": definitions}}


def _long_warm_pool(session: Session, request: Request) -> Request:
    return {"ResourceConfig": {**request["ResourceConfig"], "KeepAlivePeriodInSeconds": 21_601}}


def quota_text(session: Session) -> Observed:
    quota = session.facts.quota
    if quota is None:
        raise NotVerified(f"the quota of {session.facts.instance_type} is unknown")
    request = session.request("probe", ResourceConfig={"InstanceCount": int(quota) + 1})
    code, message, found = answer(session, "sagemaker", "create_training_job", **request)
    name = request["TrainingJobName"]
    if found:
        session.aws.translated("sagemaker", "stop_training_job", TrainingJobName=name)
        return {"code": "accepted", "message": ""}
    match = QUOTA.search(message)
    described = answer(session, "sagemaker", "describe_training_job", TrainingJobName=name)
    return {
        "code": code,
        "message": message,
        "is_understood": match is not None,
        "limit": None if match is None else int(match[1]),
        "name_stays_free": described[1] == NO_JOB,
        "quota": int(quota),
    }


def other_region(session: Session) -> Observed:
    """Use an input in a new bucket of another region, which is deleted at the end."""
    region = "us-west-2" if session.facts.region != "us-west-2" else "us-east-2"
    bucket = f"smsweep-{session.state.run}-{secrets.token_hex(6)}"
    place = {"LocationConstraint": region}
    arguments = {"Bucket": bucket, "CreateBucketConfiguration": place}
    create(session, "buckets", f"{region}/{bucket}", "s3", "create_bucket", **arguments)
    with closing(session.in_region(region)) as client:
        client.translated("s3", "put_object", Bucket=bucket, Key="train/a", Body=b"1")
    request = session.request("probe", channels=[channel(f"s3://{bucket}/train/")])
    _, message, found = answer(session, "sagemaker", "create_training_job", **request)
    if not found:
        return {"when": "at CreateTrainingJob", "status": "", "message": message}
    status = session.wait(request["TrainingJobName"])
    return {"when": "when the job runs", "status": status.status, "message": status.failure_reason}


def rate_limits(session: Session) -> Observed:
    """Make calls without retries until AWS throttles one, at most BURST calls of an operation."""
    prefix = f"smsweep-{session.state.run}-none/"
    calls: dict[str, tuple[str, str, dict[str, Any]]] = {
        "ListTrainingJobs": ("sagemaker", "list_training_jobs", {"MaxResults": 1}),
        "FilterLogEvents": (
            "logs",
            "filter_log_events",
            {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamNamePrefix": prefix},
        ),
    }
    observed: dict[str, Any] = {"codes": [], "is_understood": True, "allows_the_rates": True}
    for action, (service, operation, arguments) in calls.items():
        began, n = time.monotonic(), 0
        with closing(session.without_retries(service)) as client:
            while n < BURST:
                try:
                    getattr(client, operation)(**arguments)
                except ClientError as err:
                    if code_of(err) == "ResourceNotFoundException":  # there is no log group yet
                        n += 1
                        continue
                    error = translate(err, action)
                    if isinstance(error, AccessDenied):
                        raise NotVerified(str(error)) from err
                    observed["codes"].append(code_of(err))
                    observed["is_understood"] &= isinstance(error, Throttled)
                    observed["allows_the_rates"] &= n >= DEFAULT_RATES[action]
                    break
                except BotoCoreError as err:
                    raise NotVerified(f"{action}: {err}") from err
                n += 1
        observed[action] = f"{n} calls in {time.monotonic() - began:.1f} s"
    return observed


def job_events(session: Session) -> Observed:
    """Receive the events of a job through a rule and a queue."""
    name = f"smsweep-{session.state.run}-events"
    url = create(session, "queues", name, "sqs", "create_queue", QueueName=name)["QueueUrl"]
    attributes = _made(session, "sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["QueueArn"])
    arn = attributes["Attributes"]["QueueArn"]
    sender = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**sender, "Resource": arn}]}
    _made(session, "sqs", "set_queue_attributes", QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    request = session.request("probe")
    job = request["TrainingJobName"]
    pattern = {"source": ["aws.sagemaker"], "detail-type": [EVENT], "detail": {"TrainingJobName": [job]}}
    create(session, "rules", name, "events", "put_rule", Name=name, EventPattern=json.dumps(pattern))
    _made(session, "events", "put_targets", Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    session.wait(session.submit(request))
    details: list[dict[str, Any]] = []
    deadline = time.monotonic() + EVENT_S
    while time.monotonic() < deadline and not any(
        each.get("TrainingJobStatus") == "Completed" for each in details
    ):
        session.check_interrupt()
        page = _made(session, "sqs", "receive_message", QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in page.get("Messages", ()):
            details.append(json.loads(message["Body"])["detail"])
            _made(session, "sqs", "delete_message", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return {
        "statuses": sorted({str(each.get("TrainingJobStatus")) for each in details}),
        "secondary_statuses": sorted({str(each.get("SecondaryStatus")) for each in details}),
        "reports_the_end": any(each.get("TrainingJobStatus") == "Completed" for each in details),
        "names_the_job": {each.get("TrainingJobName") for each in details} == {job},
    }


def create(
    session: Session, kind: str, name: str, service: str, operation: str, **arguments: Any
) -> dict[str, Any]:
    """Create something that the run removes. It is noted first, unless AWS refuses the call.

    Raises:
        NotVerified: If it was not created.
    """
    session.state.note(kind, name)
    try:
        return _made(session, service, operation, **arguments)
    except NotVerified as err:
        if isinstance(err.__cause__, ClientError):  # a permission is missing, perhaps also that to remove it
            session.state.drop(kind, name)
        raise


def _made(session: Session, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
    """Make a call that must succeed. Raises NotVerified."""
    code, message, found = answer(session, service, operation, **arguments)
    if code:
        raise NotVerified(f"{service}:{operation}: {code}: {message}")
    return found


def repeated_calls(session: Session) -> Observed:
    """Create a job twice, and stop it after its end."""
    request = session.request("probe")
    session.wait(session.submit(request))
    name = request["TrainingJobName"]
    again = answer(session, "sagemaker", "create_training_job", **request)
    stopped = answer(session, "sagemaker", "stop_training_job", TrainingJobName=name)
    tags = session.aws.translated(
        "sagemaker", "list_tags", ResourceArn=session.description(name)["TrainingJobArn"]
    )["Tags"]
    return {
        "taken_code": again[0],
        "taken_message": again[1],
        "stop_code": stopped[0],
        "stop_message": stopped[1],
        "has_tag": {"Key": TAG, "Value": session.state.run} in tags,
    }


CHECKS = (
    Assumption(
        id="unknown-job",
        statement="Describe and Stop of a job that does not exist return ValidationException.",
        calls="DescribeTrainingJob and StopTrainingJob of a name that does not exist",
        observe=unknown_job,
        expected={
            "describe_code": "ValidationException",
            "describe_message": NO_JOB,
            "stop_code": "ValidationException",
            "stop_message": NO_JOB,
        },
        file="smsweep/emulator/api_error.py",
    ),
    Assumption(
        id="conditional-write",
        statement="S3 refuses the second PutObject with IfNoneMatch, and one with another ETag, with code 412.",
        calls="three PutObject calls below the prefix of the run",
        observe=conditional_write,
        expected={
            "first_code": "",
            "second_code": "PreconditionFailed",
            "wrong_etag_code": "PreconditionFailed",
        },
        file=S3,
        backends=frozenset({"sagemaker", "batch"}),
    ),
    Assumption(
        id="bucket-owner",
        statement="S3 refuses a write with the account of another owner.",
        calls="one PutObject call below the prefix of the run, with another ExpectedBucketOwner",
        observe=bucket_owner,
        expected={"code": "AccessDenied"},
        file=S3,
        backends=frozenset({"sagemaker", "batch"}),
    ),
    Assumption(
        id="no-log",
        statement="FilterLogEvents returns an empty page for a job without a log.",
        calls="one FilterLogEvents call",
        observe=no_log,
        expected={"code": "", "events": 0},
        file="smsweep/emulator/jobs/moto_services.py",
    ),
    Assumption(
        id="policies",
        statement="The policies of `smsweep iam` allow each call of a sweep, and no objects of other sweeps.",
        calls="iam:SimulateCustomPolicy, which changes nothing",
        observe=simulated_policies,
        expected={"refused": [], "allowed_for_another_sweep": []},
        file="smsweep/aws/iam_policy.py",
        backends=frozenset({"sagemaker", "batch"}),
    ),
    Assumption(
        id="list-order",
        statement="ListTrainingJobs returns the newest jobs first; StatusEquals filters a page after it is cut.",
        calls="five ListTrainingJobs calls",
        observe=list_order,
        expected={
            "is_newest_first": True,
            "second_page_has_the_next": True,
            "wrong_page_code": "ValidationException",
        },
        file=PAGING,
        is_late=True,
    ),
    Assumption(
        id="rate-limits",
        statement="AWS allows smsweep's rates of List and FilterLogEvents, and throttles with a known code.",
        calls="up to 30 ListTrainingJobs and 30 FilterLogEvents calls in a row",
        observe=rate_limits,
        expected={"is_understood": True, "allows_the_rates": True},
        file="smsweep/aws/options.py",
        is_late=True,
    ),
    Assumption(
        id="job-events",
        statement="EventBridge sends the states of a job, with its end, to a queue.",
        calls="a new queue and a rule, one job of a minute, then both are deleted",
        observe=job_events,
        expected={"reports_the_end": True, "names_the_job": True},
        file="smsweep/emulator/jobs/moto_services.py",
        worst_s=lambda facts: job_seconds(),
        usual_s=90,
    ),
    _refusal(
        "spot-without-wait",
        "A spot job needs MaxWaitTimeInSeconds.",
        lambda session, request: {"EnableManagedSpotTraining": True},
        r"Invalid MaxWaitTimeInSeconds\. It must be present and be greater than or equal to MaxRuntimeInSeconds",
    ),
    _refusal("duplicate-channel", "Two channels must have different names.", _twice, r".*[Cc]hannel.*"),
    _refusal("metric-regex", "A regex of a metric must be valid.", _bad_regex, r".*[Rr]egex.*"),
    _refusal(
        "long-warm-pool",
        "KeepAlivePeriodInSeconds is at most 21600.",
        _long_warm_pool,
        r".*keepAlivePeriodInSeconds.*21600.*",
        VALIDATION,
    ),
    _refusal(
        "line-break",
        "A hyperparameter has no line break.",
        lambda session, request: {"HyperParameters": {"text": "a\nb"}},
        r".*hyperParameters.*",
        VALIDATION,
    ),
    _refusal(
        "many-tags",
        "A job has at most 50 tags.",
        lambda session, request: {"Tags": [{"Key": f"smsweep-{number}", "Value": ""} for number in range(51)]},
        r".*tags.*",
        VALIDATION,
    ),
    _refusal(
        "empty-channel",
        "A channel without objects is refused when the job is created.",
        _empty_channel,
        r"No S3 objects found under S3 URL .*",
        VALIDATION,
    ),
    Assumption(
        id="quota",
        statement="A request above the quota is refused with ResourceLimitExceeded, which names the limit.",
        calls="CreateTrainingJob with more instances than the quota allows; an accepted job is stopped at once",
        observe=quota_text,
        expected={"code": "ResourceLimitExceeded", "is_understood": True, "name_stays_free": True},
        file="smsweep/emulator/jobs/warm_pools.py",
        worst_s=lambda facts: job_seconds(instances=int(facts.quota or 0) + 1),
    ),
    Assumption(
        id="repeated-calls",
        statement="Create of a taken name returns ResourceInUse; Stop of an ended job, ValidationException.",
        calls="one job, then CreateTrainingJob and StopTrainingJob with its name",
        observe=repeated_calls,
        expected={
            "taken_code": "ResourceInUse",
            "taken_message": re.compile(r"Training job names must be unique .* already exists \(.*\)"),
            "stop_code": "ValidationException",
            "stop_message": "The request was rejected because the training job is in status Completed.",
            "has_tag": True,
        },
        file=API,
        worst_s=lambda facts: job_seconds(),
        usual_s=60,
    ),
    Assumption(
        id="other-region",
        statement="A job with an input in a bucket of another region fails when it downloads the input.",
        calls="a new bucket in another region, one job, then the bucket is deleted",
        observe=other_region,
        expected={
            "when": "when the job runs",
            "status": "Failed",
            "message": re.compile(r"ClientError: .*region.*", re.DOTALL),
        },
        file="smsweep/emulator/jobs/staging.py",
        worst_s=lambda facts: job_seconds(),
        usual_s=60,
    ),
)
