"""Store secrets where training jobs can read them."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.client import Aws
from smsweep.aws.errors import code_of

TAG = {"Key": "smsweep", "Value": "secret"}


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
