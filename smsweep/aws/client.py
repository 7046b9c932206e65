"""One way to AWS: the clients, their credentials, and every error in smsweep's own words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, InvalidRegionError
from botocore.parsers import ResponseParserError

from smsweep.aws.errors import no_credentials, not_of_aws, translate
from smsweep.aws.options import SageMakerOptions
from smsweep.aws.s3_conflicts import retry_conflicts
from smsweep.core.job import JobTemplate
from smsweep.errors import BadCredentials, UsageError
from smsweep.secrets.references import check_away

log = logging.getLogger(__name__)

# Few retries of botocore's own: they would wait inside the call, and a call that waits keeps all trials waiting.
CONFIG = Config(
    connect_timeout=10,
    read_timeout=60,
    max_pool_connections=10,
    retries={"mode": "standard", "total_max_attempts": 3},
)
ELSEWHERE = {"pricing": "us-east-1"}  # services that are not in every region
# What AWS's answer always has.
ALWAYS = {
    "create_training_job": "TrainingJobArn",
    "describe_training_job": "TrainingJobStatus",
    "list_training_jobs": "TrainingJobSummaries",
    "filter_log_events": "events",
}
WORST_SKEW = timedelta(minutes=5)  # beyond it AWS refuses signatures


class Aws:
    """Makes each service's client once; again after the credentials were refused, to find refreshed ones.

    environ: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL (also per service, AWS_ENDPOINT_URL_S3) and the keys.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._session: boto3.Session | None = None
        self._clients: dict[str, Any] = {}
        self.skew = timedelta(0)  # AWS's clock minus ours
        self._has_warned = False

    @property
    def region(self) -> str:
        """Return the region to work in; "" when none is set anywhere. Raises JobError for an unknown profile."""
        try:
            return str(self._open_session().region_name or "")
        except BotoCoreError as err:
            raise translate(err, "AWS") from err

    def call(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call an operation, in boto3's spelling (create_training_job).

        Raises ClientError for an answer that the caller may want to look at (see `translated`), BackendUnavailable
        for one that is not AWS's.
        """
        try:
            answer: dict[str, Any] = getattr(self._client(service), operation)(**arguments)
        except ClientError as err:
            self._note_time(err.response)
            raise
        except ResponseParserError as err:
            raise not_of_aws(_action(service, operation), str(err)) from err
        is_page = service == "sagemaker" and _headers(answer).get("content-type", "").startswith("text/html")
        if is_page or ALWAYS.get(operation, "ResponseMetadata") not in answer:
            raise not_of_aws(_action(service, operation), "a page" if is_page else "empty")
        self._note_time(answer)
        return answer

    def translated(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call an operation. Raises JobError, never one of botocore's."""
        try:
            return self.call(service, operation, **arguments)
        except (BotoCoreError, ClientError) as err:
            raise self.error(err, service, operation) from err

    def error(self, err: BotoCoreError | ClientError, service: str, operation: str) -> Exception:
        """Translate; refused credentials are forgotten."""
        found = translate(err, _action(service, operation))
        if isinstance(found, BadCredentials):
            self._session = None
            self._clients.clear()
        return found

    def now(self, clock: Callable[[], float]) -> datetime:
        """Return the time as AWS has it. clock: seconds since the epoch."""
        return datetime.fromtimestamp(clock(), timezone.utc) + self.skew

    def check(self) -> None:
        """Raise JobError or UsageError for settings with which no call can succeed; call nothing of theirs."""
        try:
            self._client("sagemaker")
            found = self._open_session().get_credentials()
            if found is None:
                raise no_credentials("there are none")
            found.get_frozen_credentials()  # runs what the profile names: a program, single sign-on, a role
        except BotoCoreError as err:
            raise translate(err, "AWS") from err
        except OSError as err:  # of a credential_process that is no program
            raise no_credentials(str(err)) from err

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            name = service.upper().replace("-", "_")
            endpoint = self._environ.get(f"AWS_ENDPOINT_URL_{name}") or self._environ.get("AWS_ENDPOINT_URL")
            try:
                self._clients[service] = self._open_session().client(
                    service, region_name=ELSEWHERE.get(service), endpoint_url=endpoint or None, config=CONFIG
                )
            except InvalidRegionError as err:
                raise UsageError(f"AWS_REGION: {str(err).rstrip('.')}; expected one such as eu-west-1") from err
            except ValueError as err:
                raise UsageError(f"AWS_ENDPOINT_URL: {err}; expected a URL such as http://127.0.0.1:8471") from err
            if service == "s3":
                retry_conflicts(self._clients[service])
        return self._clients[service]

    def _open_session(self) -> boto3.Session:
        if self._session is None:
            environ = self._environ
            key, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
            if bool(key) != bool(secret):  # boto3 would sign with half of it
                there, lacking = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")[:: 1 if key else -1]
                raise no_credentials(f"{there} is set and {lacking} is not")
            self._session = boto3.Session(
                aws_access_key_id=key or None,
                aws_secret_access_key=secret or None,
                aws_session_token=environ.get("AWS_SESSION_TOKEN"),
                region_name=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"),
                profile_name=environ.get("AWS_PROFILE"),
            )
        return self._session

    def _note_time(self, answer: Mapping[str, Any]) -> None:
        date = _headers(answer).get("date")
        if not date:
            return
        try:
            self.skew = parsedate_to_datetime(date) - datetime.now(timezone.utc)
        except (TypeError, ValueError):  # cut off, or without its zone
            return
        if abs(self.skew) > WORST_SKEW and not self._has_warned:
            self._has_warned = True
            minutes = round(self.skew / timedelta(minutes=1))
            by = f"{minutes} minutes behind" if minutes > 0 else f"{-minutes} minutes ahead of"
            log.warning("this machine's clock is %s AWS's; set it right, or calls will be refused", by)


def _action(service: str, operation: str) -> str:
    """Return IAM's name of a call: sagemaker:CreateTrainingJob."""
    return f"{service}:{''.join(part.capitalize() for part in operation.split('_'))}"


def _headers(answer: Mapping[str, Any]) -> Mapping[str, str]:
    headers: Mapping[str, str] = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers


def check_settings(template: JobTemplate, environ: Mapping[str, str]) -> None:
    """Check the secrets, the settings and the credentials. Raises JobError, UsageError."""
    check_away(template)
    SageMakerOptions.from_environ(environ)
    aws = Aws(environ)
    try:
        aws.check()
    finally:
        aws.close()
