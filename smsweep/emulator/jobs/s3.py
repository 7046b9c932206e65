"""Access of the emulator to its own S3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from smsweep.backends.local.storage.s3 import S3Place, split_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class S3:
    """Client for the emulator's S3.

    Args:
        environ: Has the credentials, the region and AWS_ENDPOINT_URL.
        cache: Folder for downloads.
    """

    def __init__(self, environ: Mapping[str, str], cache: Path) -> None:
        self.place = S3Place(environ, cache)
        session = boto3.Session(
            aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
            region_name=environ["AWS_REGION"],
        )
        self._client: S3Client = session.client("s3", endpoint_url=environ["AWS_ENDPOINT_URL"])

    def has_objects(self, uri: str) -> bool:
        """Return True if the bucket has a key that starts with the URI's key."""
        bucket, key = split_uri(uri)
        try:
            return self._client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)["KeyCount"] > 0
        except ClientError:
            return False  # the bucket does not exist

    def delete(self, uri: str) -> None:
        """Delete an object. Raises botocore's errors."""
        bucket, key = split_uri(uri)
        self._client.delete_object(Bucket=bucket, Key=key)
