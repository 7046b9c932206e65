"""AWS clients: settings, credentials, translated errors, and secrets in Secrets Manager or Parameter Store."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, InvalidRegionError
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError

from smsweep.aws.errors import code_of, no_credentials, not_of_aws, retry_conflicts, translate
from smsweep.aws.operations import typed
from smsweep.aws.options import SageMakerOptions, endpoint_url
from smsweep.core.job import JobTemplate
from smsweep.errors import BadCredentials, UsageError
from smsweep.secrets.redact import check_remote_secrets

log = logging.getLogger(__name__)

# botocore retries inside a call, which delays all trials. So it retries rarely, and the backends retry later.
CONFIG = Config(
    connect_timeout=10,
    read_timeout=60,
    max_pool_connections=10,
    retries={"mode": "standard", "total_max_attempts": 3},
)
SERVICE_REGIONS = {"pricing": "us-east-1"}  # services that do not exist in every region
# A field that each answer of AWS has.
REQUIRED_FIELD = {
    "create_training_job": "TrainingJobArn",
    "describe_training_job": "TrainingJobStatus",
    "list_training_jobs": "TrainingJobSummaries",
    "filter_log_events": "events",
}
MAX_SKEW = timedelta(minutes=5)  # with a larger difference AWS refuses signatures
TAG = {"Key": "smsweep", "Value": "secret"}


class Aws:
    """Calls AWS. It creates one client per service, and new ones after AWS has refused the credentials.

    Args:
        environ: The user's environment variables. `AWS_PROFILE`, `AWS_REGION`, `AWS_ENDPOINT_URL` (also per
            service, such as `AWS_ENDPOINT_URL_S3`) and the access keys are used.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._session: boto3.Session | None = None
        self._clients: dict[str, Any] = {}
        self.skew = timedelta(0)  # AWS's clock minus this machine's clock
        self._has_warned = False

    @property
    def region(self) -> str:
        """The region of all calls; "" if no setting names one. Raises JobError for an unknown profile."""
        try:
            return str(self._open_session().region_name or "")
        except BotoCoreError as err:
            raise translate(err, "AWS") from err

    @typed
    def call(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call an operation.

        Args:
            service: The service's name in boto3.
            operation: The operation's name in boto3, such as `create_training_job`.
            arguments: The parameters of the operation.

        Returns:
            The answer of AWS.

        Raises:
            ClientError: If AWS returns an error (see `translated`).
            BotoCoreError: If the call cannot be made, or its answer does not arrive.
            BackendUnavailable: If the answer is not from AWS.
        """
        try:
            answer: dict[str, Any] = getattr(self._client(service), operation)(**arguments)
        except ClientError as err:
            self._note_time(err.response)
            raise
        except ResponseParserError as err:
            raise not_of_aws(_action(service, operation), str(err)) from err
        is_page = service == "sagemaker" and _headers(answer).get("content-type", "").startswith("text/html")
        if is_page or REQUIRED_FIELD.get(operation, "ResponseMetadata") not in answer:
            raise not_of_aws(_action(service, operation), "a page" if is_page else "empty")
        self._note_time(answer)
        return answer

    @typed
    def translated(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call an operation, as `call` does. Raises JobError instead of botocore's errors."""
        try:
            answer: dict[str, Any] = self.call(service, operation, **arguments)
        except (BotoCoreError, ClientError) as err:
            raise self.error(err, service, operation) from err
        return answer

    def error(self, err: BotoCoreError | ClientError, service: str, operation: str) -> Exception:
        """Return the error of smsweep for an error of botocore. Refused credentials are loaded again."""
        error = translate(err, _action(service, operation))
        if isinstance(error, BadCredentials):
            self._session = None
            self._clients.clear()
        return error

    def now(self, clock: Callable[[], float]) -> datetime:
        """Return the time of AWS's clock. clock: returns seconds since the epoch."""
        return datetime.fromtimestamp(clock(), timezone.utc) + self.skew

    def check(self) -> None:
        """Raise JobError or UsageError for settings with which no call can succeed. AWS is not called."""
        try:
            self._client("sagemaker")
        except BotoCoreError as err:
            raise translate(err, "AWS") from err
        self.check_credentials()

    def check_credentials(self) -> None:
        """Raise JobError if there are no usable credentials. No region is needed."""
        try:
            credentials = self._open_session().get_credentials()
            if credentials is None:
                raise no_credentials("there are none")
            credentials.get_frozen_credentials()  # uses the profile: a program, single sign-on, or a role
        except BotoCoreError as err:
            raise translate(err, "AWS") from err
        except OSError as err:  # credential_process is not a program
            raise no_credentials(str(err)) from err

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            try:
                self._clients[service] = self._open_session().client(
                    service,
                    region_name=SERVICE_REGIONS.get(service),
                    endpoint_url=endpoint_url(service, self._environ) or None,
                    config=CONFIG,
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
            if bool(key) != bool(secret):  # boto3 signs with one of them
                present, missing = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")[:: 1 if key else -1]
                raise no_credentials(f"{present} is set and {missing} is not")
            self._session = open_session(environ)
        return self._session

    def _note_time(self, answer: Mapping[str, Any]) -> None:
        date = _headers(answer).get("date")
        if not date:
            return
        try:
            self.skew = parsedate_to_datetime(date) - datetime.now(timezone.utc)
        except (TypeError, ValueError):  # incomplete, or without a time zone
            return
        if abs(self.skew) > MAX_SKEW and not self._has_warned:
            self._has_warned = True
            minutes = round(self.skew / timedelta(minutes=1))
            by = f"{minutes} minutes behind" if minutes > 0 else f"{-minutes} minutes ahead of"
            log.warning("this machine's clock is %s AWS's; set it correctly, or AWS refuses calls", by)


def open_session(environ: Mapping[str, str]) -> boto3.Session:
    """Return a session with the credentials, the region and the profile of an environment.

    All sessions of a process share the service models, because botocore takes up to 0.2 s to read one.

    Args:
        environ: Environment variables. boto3 has the defaults.

    Raises:
        BotoCoreError: If the profile does not exist.
    """
    core = botocore.session.get_session()
    core.lazy_register_component("data_loader", lambda: _models(core.get_config_variable("data_path")))
    session = boto3.Session(
        aws_access_key_id=environ.get("AWS_ACCESS_KEY_ID") or None,
        aws_secret_access_key=environ.get("AWS_SECRET_ACCESS_KEY") or None,
        aws_session_token=environ.get("AWS_SESSION_TOKEN"),
        region_name=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"),
        profile_name=environ.get("AWS_PROFILE"),
        botocore_session=core,
    )
    paths = core.get_component("data_loader").search_paths
    paths[:] = dict.fromkeys(paths)  # each session of boto3 adds the same folder
    return session


@functools.cache
def _models(folders: str | None) -> Loader:
    return create_loader(folders)


def _action(service: str, operation: str) -> str:
    """Return the name of a call in IAM, such as sagemaker:CreateTrainingJob."""
    return f"{service}:{''.join(part.capitalize() for part in operation.split('_'))}"


def _headers(answer: Mapping[str, Any]) -> Mapping[str, str]:
    headers: Mapping[str, str] = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers


def check_settings(template: JobTemplate, environ: Mapping[str, str]) -> None:
    """Check the secrets, the settings and the credentials. Raises JobError, UsageError."""
    check_remote_secrets(template)
    SageMakerOptions.from_environ(environ)
    aws = Aws(environ)
    try:
        aws.check()
    finally:
        aws.close()


def store_secret(aws: Aws, name: str, value: str) -> str:
    """Store a value in Secrets Manager, or replace it there, and return its ARN. Raises JobError."""
    try:
        return str(aws.call("secretsmanager", "create_secret", Name=name, SecretString=value, Tags=[TAG])["ARN"])
    except (BotoCoreError, ClientError) as err:
        if not isinstance(err, ClientError) or code_of(err) != "ResourceExistsException":
            raise aws.error(err, "secretsmanager", "create_secret") from err
    answer = aws.translated("secretsmanager", "put_secret_value", SecretId=name, SecretString=value)
    return str(answer["ARN"])


def store_parameter(aws: Aws, name: str, value: str) -> str:
    """Store a value as an SSM SecureString and return its ARN. The name starts with a slash. Raises JobError."""
    aws.translated("ssm", "put_parameter", Name=name, Value=value, Type="SecureString", Overwrite=True)
    return str(aws.translated("ssm", "get_parameter", Name=name)["Parameter"]["ARN"])
