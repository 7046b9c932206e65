"""Fetch secrets inside the job. The request holds only references to them."""

from __future__ import annotations

import binascii
import importlib
import json
import os
import re

from smsweep.runtime.job.failure import JobFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SECRETS_ENV = "secrets.env"
PREFIX = "SMSWEEP_SECRET_"  # SMSWEEP_SECRET_<name> holds a reference; the script gets <name> with the value
ENV = "env:"  # prefix of a reference to a variable of the process that starts the job

# arn:<partition>:<service>:<region>:<account>:<rest>, then #key for one key of a JSON secret
_ARN = re.compile(
    r"arn:(?P<partition>[\w-]+):(?P<service>secretsmanager|ssm):(?P<region>[\w-]+):\d*:(?P<rest>[^#]+)"
)


def with_secrets(environ: Mapping[str, str], folder: str) -> dict[str, str]:
    """Return the environment with every reference replaced by its secret.

    A variable that is set keeps its value, because the process that started the job has resolved the reference.

    Args:
        environ: Environment of the job, with references as SMSWEEP_SECRET_<name>.
        folder: The source folder. Its secrets.env has the lowest priority.

    Raises:
        JobFailure: If a secret cannot be fetched. Names the variable and the reference, never the value.
    """
    env = {name: value for name, value in environ.items() if not name.startswith(PREFIX)}
    for variable, reference in environ.items():
        name = variable[len(PREFIX) :]
        if variable.startswith(PREFIX) and not env.get(name):
            env[name] = _fetch(name, reference, environ)
    return {**_secrets_env(folder), **env}


def known_secrets(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the values of the job's secrets and of the W&B key.

    Args:
        before: Environment of the job with references.
        after: The same with the fetched values, from `with_secrets`.
    """
    names = [variable[len(PREFIX) :] for variable in before if variable.startswith(PREFIX)]
    return [after[name] for name in (*names, "WANDB_API_KEY") if after.get(name)]


def _secrets_env(folder: str) -> dict[str, str]:
    """Return the NAME=value pairs that `wandb.sagemaker_auth` wrote; empty if the source has no such file."""
    try:
        with open(os.path.join(folder, SECRETS_ENV), encoding="utf-8") as file:
            pairs = [line.strip().partition("=") for line in file if "=" in line]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in pairs}


def _fetch(name: str, reference: str, environ: Mapping[str, str]) -> str:
    if reference.startswith(ENV):
        source = reference[len(ENV) :]
        if not environ.get(source):
            raise JobFailure(f"secret {name}: {source} is not set on the machine that runs this job; set it there")
        return environ[source]
    arn, _, key = reference.partition("#")
    match = _ARN.match(arn)
    if match is None:
        raise JobFailure(
            f"secret {name}: {reference!r} is not an ARN of Secrets Manager or SSM; correct it in job.yaml"
        )
    try:
        text = _request(match.group("service"), match.group("region"), match.group("partition"), arn, environ)
    except (OSError, ValueError, KeyError) as err:
        how = "cannot be read now" if type(err).__name__ == "Unavailable" else "cannot be read"
        raise JobFailure(f"secret {name}: {arn} {how}: {_reason(err)}") from err
    return _part(name, text, key) if key else text


def _request(service: str, region: str, partition: str, arn: str, environ: Mapping[str, str]) -> str:
    # Imported only if needed: most jobs have no secrets, and HTTP is slow to import.
    aws_call = importlib.import_module("smsweep.runtime.job.aws_call").aws_call
    if service == "ssm":
        target, body = "AmazonSSM.GetParameter", {"Name": arn, "WithDecryption": True}
        answer = aws_call(service, region, partition, target, body, environ)
        return str(answer["Parameter"]["Value"])
    answer = aws_call(service, region, partition, "secretsmanager.GetSecretValue", {"SecretId": arn}, environ)
    if "SecretString" in answer:
        return str(answer["SecretString"])
    try:
        return binascii.a2b_base64(answer["SecretBinary"]).decode()
    except ValueError:
        raise ValueError("it is binary, not text") from None  # without the cause, which shows part of the secret


def _part(name: str, text: str, key: str) -> str:
    try:
        value = json.loads(text)[key]
        return value if isinstance(value, str) else json.dumps(value)
    except (ValueError, KeyError, TypeError):
        # Without the cause: its message would show the secret.
        raise JobFailure(f"secret {name}: its value is not a JSON object with the key {key!r}") from None


def _reason(err: Exception) -> str:
    code = getattr(err, "code", None)  # of an HTTPError
    if code is not None:
        answer = err.read(2000).decode("utf-8", "replace")  # type: ignore[attr-defined]  # only HTTPError has code
        return f"HTTP {code}: {answer}; check that the job's role may read it"
    return str(err) or type(err).__name__
