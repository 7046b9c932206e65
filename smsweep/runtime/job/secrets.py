"""Fetch secrets inside the job: the request only says where each one is kept."""

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
ENV = "env:"  # of a reference to a variable of whoever starts the job

# arn:<partition>:<service>:<region>:<account>:<rest>, then #key for one key of a JSON secret
_ARN = re.compile(
    r"arn:(?P<partition>[\w-]+):(?P<service>secretsmanager|ssm):(?P<region>[\w-]+):\d*:(?P<rest>[^#]+)"
)


def with_secrets(environ: Mapping[str, str], folder: str) -> dict[str, str]:
    """Return the environment with every reference replaced by its secret.

    A variable that is set already keeps its value: whoever started the job has resolved it. folder: the
    source's, whose secrets.env counts least. Raises JobFailure, which names the variable and where its value was
    looked for, never the value.
    """
    env = {name: value for name, value in environ.items() if not name.startswith(PREFIX)}
    for variable, reference in environ.items():
        name = variable[len(PREFIX) :]
        if variable.startswith(PREFIX) and not env.get(name):
            env[name] = _fetch(name, reference, environ)
    return {**_secrets_env(folder), **env}


def known_secrets(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the values that the job's request calls secret, and the W&B key.

    before, after: the job's environment, its secrets still referred to and then fetched.
    """
    names = [variable[len(PREFIX) :] for variable in before if variable.startswith(PREFIX)]
    return [after[name] for name in (*names, "WANDB_API_KEY") if after.get(name)]


def _secrets_env(folder: str) -> dict[str, str]:
    """Read the NAME=value lines that `wandb.sagemaker_auth` wrote; none where the source has no such file."""
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
            raise JobFailure(f"secret {name}: {source} is not set where this job runs")
        return environ[source]
    arn, _, key = reference.partition("#")
    found = _ARN.match(arn)
    if found is None:
        raise JobFailure(f"secret {name}: {reference!r} is no ARN of Secrets Manager or SSM")
    try:
        text = _ask(found.group("service"), found.group("region"), found.group("partition"), arn, environ)
    except (OSError, ValueError, KeyError) as err:
        how = "cannot be read now" if type(err).__name__ == "Unavailable" else "cannot be read"
        raise JobFailure(f"secret {name}: {arn} {how}: {_reason(err)}") from err
    return _part(name, text, key) if key else text


def _ask(service: str, region: str, partition: str, arn: str, environ: Mapping[str, str]) -> str:
    # Most jobs have no secrets, and HTTP takes a while to import.
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
        raise ValueError("it is binary, and no text") from None  # without the cause, which shows some of it


def _part(name: str, text: str, key: str) -> str:
    try:
        value = json.loads(text)[key]
        return value if isinstance(value, str) else json.dumps(value)
    except (ValueError, KeyError, TypeError):
        # Without the cause: its message would show the secret.
        raise JobFailure(f"secret {name}: it is no JSON object with a key {key!r}") from None


def _reason(err: Exception) -> str:
    code = getattr(err, "code", None)  # of an HTTPError
    if code is not None:
        said = err.read(2000).decode("utf-8", "replace")  # type: ignore[attr-defined]  # it has both
        return f"HTTP {code}: {said}; may the job's role read it?"
    return str(err) or type(err).__name__
