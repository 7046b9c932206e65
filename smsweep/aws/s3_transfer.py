"""Upload source and runtime to S3, once per content, and download results."""

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

CHUNK = 1 << 20  # bytes in memory
MISSING = ("404", "NotFound", "NoSuchKey")
# The answer to a HEAD request has no reason: it is 403 for a missing object without s3:ListBucket, and 400 for
# expired credentials. The following upload reports the reason.
WITHOUT_REASON = ("400", "403")
WAS_FIRST = ("412", "PreconditionFailed")  # another agent's upload


def upload_once(
    aws: Aws, folder: Path, bucket: str, prefix: str, *, kms_key: str = "", owner: str = "", skips: str = ""
) -> None:
    """Upload each file of a folder, unless the object exists.

    Args:
        aws: Calls S3.
        folder: The folder, without subfolders.
        bucket: The bucket.
        prefix: The key prefix. It must depend on the content of the files.
        kms_key: The key that encrypts the objects; "" for the bucket's default encryption.
        owner: The account that must own the bucket; "" for any.
        skips: The name of a file that is not uploaded.

    Raises:
        JobError: If the files cannot be uploaded.
    """
    guard = {"ExpectedBucketOwner": owner} if owner else {}
    for file in sorted(path for path in folder.iterdir() if path.name != skips):
        where = {"Bucket": bucket, "Key": f"{prefix}/{file.name}", **guard}
        if not _exists(aws, where):
            _put(aws, file.read_bytes(), where, kms_key)


def share_once(
    aws: Aws, data: bytes, shared: str, bucket: str, key: str, *, kms_key: str = "", owner: str = ""
) -> None:
    """Write an object as a copy of a shared object, which is uploaded only once. S3 makes the copy.

    Args:
        aws: Calls S3.
        data: The content.
        shared: The key of the shared object. It must depend on the content.
        bucket: The bucket.
        key: The key of the object, unless it exists.
        kms_key: As for `upload_once`.
        owner: As for `upload_once`.

    Raises:
        JobError: If an object cannot be written.
    """
    guard = {"ExpectedBucketOwner": owner} if owner else {}
    where, source = ({"Bucket": bucket, "Key": each, **guard} for each in (key, shared))
    if _exists(aws, where):
        return
    if not _exists(aws, source):
        _put(aws, data, source, kms_key)
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
    of_source = {"ExpectedSourceBucketOwner": owner} if owner else {}
    origin = {"Bucket": bucket, "Key": shared}
    aws.translated("s3", "copy_object", **where, **of_source, **encryption, CopySource=origin)


def put_empty(aws: Aws, bucket: str, key: str, *, kms_key: str = "") -> None:
    """Write an object without content. Raises JobError."""
    encryption: dict[str, Any] = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
    aws.translated("s3", "put_object", Bucket=bucket, Key=key, Body=b"", **encryption)


def check_bucket(aws: Aws, bucket: str, prefix: str) -> None:
    """Raise JobRejected if the bucket does not exist. The upload reports all other problems.

    The check reads an object below the prefix, so it needs no permission that the upload does not need.
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
            raise NotFound(f"{uri}: the object does not exist; the job may have ended before it wrote it") from err
        raise aws.error(err, "s3", "get_object") from err
    try:
        with closing(body), target.open("wb") as file:
            shutil.copyfileobj(body, file, CHUNK)
    except BotoCoreError as err:  # the connection was lost
        raise aws.error(err, "s3", "get_object") from err


def _exists(aws: Aws, where: dict[str, Any]) -> bool:
    try:
        aws.call("s3", "head_object", **where)
    except (BotoCoreError, ClientError) as err:
        if isinstance(err, ClientError) and code_of(err) in (*MISSING, *WITHOUT_REASON):
            return False
        raise aws.error(err, "s3", "head_object") from err
    return True


def _put(aws: Aws, data: bytes, where: dict[str, Any], kms_key: str) -> None:
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
    try:
        aws.call("s3", "put_object", **where, **encryption, Body=data, IfNoneMatch="*")
    except (BotoCoreError, ClientError) as err:
        if isinstance(err, ClientError) and code_of(err) in WAS_FIRST:
            return
        if isinstance(err, ClientError) and code_of(err) == "NoSuchBucket":
            raise _no_bucket(where["Bucket"]) from err
        raise aws.error(err, "s3", "put_object") from err
    log.info("uploaded s3://%s/%s, %d bytes", where["Bucket"], where["Key"], len(data))


def _no_bucket(bucket: str) -> JobRejected:
    return JobRejected(
        f"S3: bucket {bucket} does not exist; create it with `aws s3 mb s3://{bucket}`, "
        "or set another in job.yaml: output_path: s3://BUCKET/PREFIX"
    )
