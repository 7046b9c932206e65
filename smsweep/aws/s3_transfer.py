"""Source and runtime to S3, under a key named by their content: each is uploaded once ever. Results from S3."""

from __future__ import annotations

import logging
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.client import Aws
from smsweep.aws.errors import code_of
from smsweep.errors import BackendUnavailable, JobRejected, NotFound

log = logging.getLogger(__name__)

CHUNK = 1 << 20  # bytes held in memory
MISSING = ("404", "NotFound", "NoSuchKey")
# A HEAD has no body to say why: without s3:ListBucket a missing object answers 403, and credentials that have
# expired 400. The put that follows is told.
UNTOLD = ("400", "403")
WAS_FIRST = ("412", "PreconditionFailed")  # another agent's upload


def upload_once(aws: Aws, folder: Path, bucket: str, prefix: str, *, kms_key: str = "", owner: str = "") -> None:
    """Put each file of a folder below prefix, unless it is there. Raises JobError.

    The prefix must be named by the content. kms_key: encrypts what is uploaded; "" for the bucket's own way.
    owner: account that must own the bucket; "" for any.
    """
    guard = {"ExpectedBucketOwner": owner} if owner else {}
    for file in sorted(folder.iterdir()):
        where = {"Bucket": bucket, "Key": f"{prefix}/{file.name}", **guard}
        if not _is_there(aws, where):
            _put(aws, file, where, kms_key)


def check_bucket(aws: Aws, bucket: str, prefix: str) -> None:
    """Raise JobRejected where there is no such bucket; whatever else is wrong, the upload below prefix is told.

    Asks for an object, which takes no permission that the upload does not.
    """
    try:
        aws.call("s3", "get_object", Bucket=bucket, Key=f"{prefix}/")["Body"].close()
    except (BotoCoreError, BackendUnavailable) as err:
        log.debug("bucket %s: %s", bucket, err)
    except ClientError as err:
        if code_of(err) == "NoSuchBucket":
            raise _no_bucket(bucket) from err


def fetch(aws: Aws, uri: str, target: Path) -> None:
    """Download one object into a file. Raises NotFound, or JobError."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        body = aws.call("s3", "get_object", Bucket=bucket, Key=key)["Body"]
    except (BotoCoreError, ClientError) as err:
        if isinstance(err, ClientError) and code_of(err) in MISSING:
            raise NotFound(f"{uri}: there is nothing; did the job end before it left something?") from err
        raise aws.error(err, "s3", "get_object") from err
    try:
        with closing(body), target.open("wb") as file:
            shutil.copyfileobj(body, file, CHUNK)
    except BotoCoreError as err:  # the connection broke off
        raise aws.error(err, "s3", "get_object") from err


def _is_there(aws: Aws, where: dict[str, Any]) -> bool:
    try:
        aws.call("s3", "head_object", **where)
    except (BotoCoreError, ClientError) as err:
        if isinstance(err, ClientError) and code_of(err) in (*MISSING, *UNTOLD):
            return False
        raise aws.error(err, "s3", "head_object") from err
    return True


def _put(aws: Aws, file: Path, where: dict[str, Any], kms_key: str) -> None:
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
    try:
        aws.call("s3", "put_object", **where, **encryption, Body=file.read_bytes(), IfNoneMatch="*")
    except (BotoCoreError, ClientError) as err:
        if isinstance(err, ClientError) and code_of(err) in WAS_FIRST:
            return
        if isinstance(err, ClientError) and code_of(err) == "NoSuchBucket":
            raise _no_bucket(where["Bucket"]) from err
        raise aws.error(err, "s3", "put_object") from err
    log.info("uploaded s3://%s/%s, %d bytes", where["Bucket"], where["Key"], file.stat().st_size)


def _no_bucket(bucket: str) -> JobRejected:
    return JobRejected(
        f"S3: there is no bucket {bucket}; make it with `aws s3 mb s3://{bucket}`, "
        "or name another in job.yaml: output_path: s3://BUCKET/PREFIX"
    )
