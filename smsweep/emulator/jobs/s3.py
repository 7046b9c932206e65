"""The endpoint's own way to the S3 behind its URL."""

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
    """environ: credentials, region and AWS_ENDPOINT_URL. cache: folder for what was downloaded."""

    def __init__(self, environ: Mapping[str, str], cache: Path) -> None:
        self.place = S3Place(environ, cache)
        session = boto3.Session(
            aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
            region_name=environ["AWS_REGION"],
        )
        self._client: S3Client = session.client("s3", endpoint_url=environ["AWS_ENDPOINT_URL"])

    def has_objects(self, uri: str) -> bool:
        """Tell whether any key begins as the URI does."""
        bucket, key = split_uri(uri)
        try:
            return self._client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)["KeyCount"] > 0
        except ClientError:
            return False  # no such bucket

    def delete(self, uri: str) -> None:
        bucket, key = split_uri(uri)
        self._client.delete_object(Bucket=bucket, Key=key)
