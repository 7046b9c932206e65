"""The storage of channels, checkpoints and results in S3, with a cache of downloaded channels."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from smsweep.aws.client import open_session
from smsweep.aws.errors import retry_conflicts, translate
from smsweep.backends.local.opt_ml import open_to_all
from smsweep.errors import BackendUnavailable, JobRejected

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# The key is below the key of another object, or too long. A retry cannot help.
INVALID_PATH = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.ENAMETOOLONG)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Object:
    key: str
    etag: str  # changes with the content
    path: str  # relative to the channel's folder, with slashes


class S3Place:
    """Objects in S3. Each set of objects of a channel is downloaded once.

    Args:
        environ: The user's environment variables, with credentials, region and endpoint. boto3 has the defaults.
        cache: The folder for downloaded channels.
    """

    def __init__(self, environ: Mapping[str, str], cache: Path) -> None:
        self._cache = cache
        endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
        self._client: S3Client = open_session(environ).client("s3", endpoint_url=endpoint)
        retry_conflicts(self._client)

    def fetch(self, uri: str, data_type: str, check: Callable[[], None] = lambda: None) -> Path:
        """See `Place.fetch`. If the prefix is a key, the folder has a file of that name, as on SageMaker."""
        bucket, prefix = split_uri(uri)
        with _translated(uri):
            if data_type == "ManifestFile":
                objects = self._manifest(bucket, prefix)
            elif data_type == "S3Prefix":
                objects = self._list(bucket, prefix)
            else:
                raise JobRejected(
                    f"{uri}: S3DataType {data_type} is not supported on this machine; use S3Prefix or ManifestFile"
                )
            if not objects:
                raise JobRejected(f"{uri}: there are no objects")
            folder = self._cache / "s3" / _hash(bucket, objects)
            if not folder.exists():
                self._download_all(bucket, objects, folder, check)
        return folder

    def download(self, uri: str, folder: Path, check: Callable[[], None] = lambda: None) -> None:
        bucket, prefix = split_uri(uri)
        with _translated(uri):
            for item in self._list(bucket, prefix.rstrip("/") + "/"):
                self._download(bucket, item, folder, check)

    def upload(self, path: Path, uri: str) -> None:
        bucket, key = split_uri(uri)
        with _translated(uri):
            if path.is_file():
                self._client.upload_file(str(path), bucket, key)
                return
            # Links are skipped: their targets in the container are other files on this machine.
            for file in sorted(file for file in path.rglob("*") if file.is_file() and not file.is_symlink()):
                self._client.upload_file(
                    str(file), bucket, f"{key.rstrip('/')}/{file.relative_to(path).as_posix()}"
                )

    def remove(self, uri: str, names: Collection[str]) -> None:
        bucket, prefix = split_uri(uri)
        with _translated(uri):
            for name in names:
                self._client.delete_object(Bucket=bucket, Key=f"{prefix.rstrip('/')}/{name}")

    def _list(self, bucket: str, prefix: str) -> list[_Object]:
        """Return the objects whose keys start with `prefix`, sorted by key, without placeholders of folders."""
        objects = []
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", ()):
                if not item["Key"].endswith("/"):
                    path = _path_below(prefix, item["Key"])
                    objects.append(_Object(key=item["Key"], etag=item["ETag"], path=path))
        return sorted(objects, key=lambda item: item.key)

    def _manifest(self, bucket: str, key: str) -> list[_Object]:
        """Read SageMaker's manifest: `[{"prefix": "s3://bucket/some/"}, "a.csv", "b.csv"]`."""
        try:
            first, *names = json.loads(self._client.get_object(Bucket=bucket, Key=key)["Body"].read())
            listed, prefix = split_uri(first["prefix"])
            if not all(isinstance(name, str) for name in names):
                raise TypeError("a name is not a string")
        except (ValueError, TypeError, KeyError, AttributeError) as err:
            raise JobRejected(
                f"s3://{bucket}/{key}: not a manifest; expected JSON such as "
                '[{"prefix": "s3://bucket/some/"}, "a.csv", "b.csv"]'
            ) from err
        if listed != bucket:
            raise JobRejected(f"s3://{bucket}/{key}: the manifest names another bucket, {listed}; use one bucket")
        objects = []
        for name in names:
            head = self._client.head_object(Bucket=bucket, Key=prefix + name)
            objects.append(_Object(key=prefix + name, etag=head["ETag"], path=_safe(name, prefix + name)))
        return objects

    def _download_all(self, bucket: str, objects: list[_Object], folder: Path, check: Callable[[], None]) -> None:
        draft = folder.with_name(f".{folder.name}.{os.getpid()}.{id(objects)}")
        try:
            for item in objects:
                self._download(bucket, item, draft, check)
            open_to_all(draft, folders=0o755, files=0o644)
            draft.rename(folder)
        except OSError:
            if not folder.exists():  # otherwise another job has downloaded it first
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _download(self, bucket: str, item: _Object, folder: Path, check: Callable[[], None]) -> None:
        target = folder / item.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            check()
            self._client.download_file(bucket, item.key, str(target), Callback=lambda _bytes: check())
        except OSError as err:
            if err.errno in INVALID_PATH:
                raise JobRejected(
                    f"S3 key {item.key!r}: cannot be a file on this machine: {err.strerror}; rename or remove it"
                ) from err
            raise


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of an s3:// URI."""
    bucket, _, key = uri.partition("://")[2].partition("/")  # not `urlsplit`: a key can contain a question mark
    return bucket, key.lstrip("/")


def _path_below(prefix: str, key: str) -> str:
    """Return the path of a key in the channel: the key without the folders of the prefix."""
    folder = prefix if prefix.endswith("/") or not key.startswith(prefix + "/") else prefix + "/"
    return _safe(key[folder.rfind("/") + 1 :], key)


def _safe(path: str, key: str) -> str:
    parts = PurePosixPath(path.lstrip("/")).parts  # double slashes count as one
    if not parts or ".." in parts or "\0" in path:
        raise JobRejected(f"S3 key {key!r}: is outside the channel's folder; rename it")
    return "/".join(parts)


def _hash(bucket: str, objects: list[_Object]) -> str:
    content: list[Any] = [bucket, [[item.path, item.etag] for item in objects]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    try:
        yield
    except (ParamValidationError, UnicodeEncodeError) as err:
        name = err.object if isinstance(err, UnicodeEncodeError) else uri
        raise JobRejected(
            f"{name!r} is not a valid name in S3; expected a URI such as s3://bucket/folder/file"
        ) from err
    except (ClientError, BotoCoreError, Boto3Error) as err:
        # boto3 raises its own error for a failed upload, with S3's answer as the cause.
        answer = err if isinstance(err, ClientError) else err.__cause__ or err.__context__
        if not isinstance(answer, ClientError):
            raise BackendUnavailable(f"{uri}: {err}") from err
        if translate(answer, answer.operation_name).retryable:
            raise BackendUnavailable(f"{uri}: {answer}") from err
        raise JobRejected(f"{uri}: {answer}; check the bucket's name and your credentials") from err
