"""Store of a sweep in S3, with the heartbeat of its writer and the commands for its writer.

One writer at a time replaces the store. Each replacement is a conditional write that names the version it
replaces. A writer that was replaced during a long pause therefore cannot overwrite the newer store.
"""

from __future__ import annotations

import gzip
import json
import shutil
import zlib
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.client import Aws
from smsweep.aws.errors import code_of
from smsweep.aws.s3_transfer import MISSING
from smsweep.errors import NotFound, SmsweepError, StoreDamaged, StoreError, StoreUnavailable, Superseded

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, ListObjectsV2OutputTypeDef

STORE = "store.db.gz"
HEARTBEAT = "alive.json"  # the writer's last heartbeat
COMMANDS = "orders/"
REJECTED = "rejected/"  # invalid objects that were below COMMANDS
SAME = ("304", "NotModified")
CHANGED = ("412", "PreconditionFailed")
LEVEL = 1  # of compression; the upload takes longer than the compression
MAX_COMMANDS = 1_000  # per poll; the next poll reads the rest
MAX_COMMAND_BYTES = 1 << 16  # a longer object is not a command
MAX_HEARTBEAT_BYTES = 1 << 16
MAX_STORE_BYTES = 1 << 34  # of the unpacked store
CHUNK = 1 << 20  # bytes held in memory
RESTORE = "restore an earlier version of the object, or rebuild the sweep from its jobs with `smsweep recover`"
OWN_WRITES = 5  # earlier writes of the same writer that one call can replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """A version of the store."""

    etag: str
    written_at: datetime  # time of S3


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """Result of a replacement of the store."""

    etag: str
    n_bytes: int  # size of the packed store


@dataclass(frozen=True, kw_only=True, slots=True)
class SentCommand:
    """A command from a user to the writer of the store."""

    id: str
    document: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceivedObject:
    """An object below COMMANDS. Any user who can write to the bucket can have created it."""

    name: str  # key below COMMANDS
    body: bytes  # the first MAX_COMMAND_BYTES
    problem: str = ""  # why the object is not a command; "" if it can be one

    @property
    def id(self) -> str:
        """Id of the command."""
        return self.name.removesuffix(".json")


class S3Store:
    """The store in S3.

    All methods raise StoreUnavailable if AWS does not respond, and StoreError if AWS denies the call.

    Args:
        aws: Access to AWS.
        uri: s3://BUCKET/PREFIX.
        kms_key: KMS key for new objects; "" for the default encryption of the bucket.
    """

    def __init__(self, aws: Aws, uri: str, kms_key: str = "") -> None:
        self.uri = uri.rstrip("/")
        self._aws = aws
        self._bucket, _, self._prefix = self.uri.removeprefix("s3://").partition("/")
        self._encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}

    def fetch(self, target: Path, *, known: str = "") -> Version | None:
        """Download the store.

        Args:
            target: File for the store.
            known: Etag of a version that is not downloaded again; "" to download always.

        Returns:
            The version; None, without a file, if the store still is the known version.

        Raises:
            NotFound: If the store does not exist.
            StoreDamaged: If the object is not a packed store.
        """
        condition = {"IfNoneMatch": known} if known else {}
        try:
            answer = self._aws.call("s3", "get_object", **self._at(STORE), **condition)
        except (BotoCoreError, ClientError) as err:
            if _is(err, SAME):
                return None
            if _is(err, MISSING):
                raise NotFound(f"{self.uri}/{STORE}: the store does not exist") from err
            raise self._error(err, "get_object") from err
        try:
            with closing(answer["Body"]) as body, target.open("wb") as file:
                self._unpack(cast("IO[bytes]", body), file)
        except (gzip.BadGzipFile, zlib.error) as err:
            target.unlink()
            raise StoreDamaged(f"{self.uri}/{STORE}: not a packed store: {err}; {RESTORE}") from err
        except (BotoCoreError, EOFError, OSError) as err:
            target.unlink(missing_ok=True)
            raise StoreUnavailable(f"{self.uri}/{STORE}: the download failed: {err}") from err
        except StoreDamaged:
            target.unlink()
            raise
        return Version(etag=answer["ETag"], written_at=answer["LastModified"])

    def replace(self, file: Path, *, version: str, stamp: str, writer: str = "") -> Written:
        """Replace one version of the store.

        Args:
            file: The new store.
            version: Etag of the version that is replaced; "" if there is no store yet.
            stamp: Unique name of this replacement. It identifies this write if the response is lost.
            writer: Prefix of the stamps of this writer, up to their last colon. With this prefix, a write of an
                earlier call whose response was lost is recognized and replaced. "" for none.

        Returns:
            The etag of the new version, and its size.

        Raises:
            Superseded: If another writer has replaced that version.
            StoreUnavailable: If it is unknown whether the store was replaced. The same call may be repeated.
        """
        packed = file.with_name(f"{file.name}.gz")
        # The stamp is in the header of the archive: an etag can be a hash of the content, and writers that start
        # from the same store must not create equal etags.
        with file.open("rb") as raw, packed.open("wb") as out, gzip.GzipFile(stamp, "wb", LEVEL, out) as zipped:
            shutil.copyfileobj(raw, zipped)
        try:
            for _ in range(OWN_WRITES):
                etag = self._put_store(packed, version, stamp)
                if etag:
                    return Written(etag=etag, n_bytes=packed.stat().st_size)
                version, newest_stamp = self._newest()
                if newest_stamp == stamp:
                    return Written(etag=version, n_bytes=packed.stat().st_size)
                if not writer or newest_stamp.rpartition(":")[0] != writer:
                    raise Superseded(
                        f"{self.uri}: another agent has replaced this store; this agent stops writing it"
                    )
        finally:
            packed.unlink()
        raise StoreUnavailable(f"{self.uri}/{STORE}: earlier writes of this agent are still arriving; try again")

    def write_heartbeat(self, document: dict[str, Any]) -> None:
        """Write the heartbeat of the writer."""
        self._put(HEARTBEAT, json.dumps(document).encode())

    def read_heartbeat(self) -> tuple[dict[str, Any], timedelta | None]:
        """Return the writer's last heartbeat and its age; {} and None if there is none."""
        try:
            answer, text = self._get(HEARTBEAT, MAX_HEARTBEAT_BYTES)
        except (BotoCoreError, ClientError) as err:
            if _is(err, MISSING):
                return {}, None
            raise self._error(err, "get_object") from err
        document = _document(text)
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return document, max(now - answer["LastModified"], timedelta(0))

    def send_command(self, command: SentCommand) -> None:
        """Send a command to the writer."""
        self._put(f"{COMMANDS}{command.id}.json", json.dumps(command.document).encode())

    def received_commands(self) -> list[ReceivedObject]:
        """Return the objects below COMMANDS, oldest first, valid or not."""
        prefix = f"{self._prefix}/{COMMANDS}"
        response = self._call("list_objects_v2", Bucket=self._bucket, Prefix=prefix, MaxKeys=MAX_COMMANDS)
        answer = cast("ListObjectsV2OutputTypeDef", response)
        objects = sorted(answer.get("Contents", ()), key=lambda item: (item["LastModified"], item["Key"]))
        names = [item["Key"].removeprefix(prefix) for item in objects]
        return [received for name in names if name and (received := self._receive(name)) is not None]

    def has_command(self, command_id: str) -> bool:
        """Return True if a command has not been deleted yet."""
        return self._receive(f"{command_id}.json") is not None

    def delete_command(self, command: SentCommand | ReceivedObject) -> None:
        """Delete a command."""
        name = command.name if isinstance(command, ReceivedObject) else f"{command.id}.json"
        self._call("delete_object", **self._at(f"{COMMANDS}{name}"))

    def reject_command(self, received: ReceivedObject) -> None:
        """Move an object that is not a command to REJECTED."""
        self._put(f"{REJECTED}{quote(received.name, safe='')}", received.body)
        self.delete_command(received)

    def delete(self) -> None:
        """Delete the heartbeat and the store. The store is last, so that a failed call can be repeated."""
        for name in (HEARTBEAT, STORE):
            self._call("delete_object", **self._at(name))

    def _receive(self, name: str) -> ReceivedObject | None:
        """Return one object below COMMANDS; None if it does not exist."""
        try:
            _, read = self._get(f"{COMMANDS}{name}", MAX_COMMAND_BYTES + 1)
        except (BotoCoreError, ClientError) as err:
            if _is(err, MISSING):
                return None
            error = self._error(err, "get_object")
            if error.retryable:
                raise error from err
            return ReceivedObject(
                name=name, body=b"", problem=str(error)
            )  # an error of this object only: the list call succeeded
        problem = f"longer than {MAX_COMMAND_BYTES:,} bytes" if len(read) > MAX_COMMAND_BYTES else ""
        return ReceivedObject(name=name, body=read[:MAX_COMMAND_BYTES], problem=problem)

    def _put_store(self, packed: Path, version: str, stamp: str) -> str:
        """Return the new etag; "" if the current version is not the one to replace."""
        condition = {"IfMatch": version} if version else {"IfNoneMatch": "*"}
        try:
            with packed.open("rb") as body:
                response = self._aws.call(
                    "s3",
                    "put_object",
                    **self._at(STORE),
                    **condition,
                    **self._encryption,
                    Body=body,
                    Metadata={"writer": stamp},
                )
        except (BotoCoreError, ClientError) as err:
            if _is(err, (*CHANGED, *MISSING)):
                return ""
            raise self._error(err, "put_object") from err
        return str(response["ETag"])

    def _newest(self) -> tuple[str, str]:
        """Return the etag of the current version, and the stamp of its replacement."""
        try:
            # Not HEAD: its response has no body with the error, for example expired credentials.
            answer, _ = self._get(STORE, 0)
        except (BotoCoreError, ClientError) as err:
            if _is(err, MISSING):
                raise Superseded(f"{self.uri}: the store was deleted") from err
            raise self._error(err, "get_object") from err
        return answer["ETag"], answer.get("Metadata", {}).get("writer", "")

    def _unpack(self, body: IO[bytes], file: IO[bytes]) -> None:
        with gzip.GzipFile(fileobj=body) as packed:
            while chunk := packed.read(CHUNK):
                if file.tell() + len(chunk) > MAX_STORE_BYTES:
                    raise StoreDamaged(
                        f"{self.uri}/{STORE}: it has more than {MAX_STORE_BYTES:,} bytes unpacked; {RESTORE}"
                    )
                file.write(chunk)

    def _get(self, name: str, most: int) -> tuple[GetObjectOutputTypeDef, bytes]:
        """Return the response of S3, and at most `most` bytes of the object. Raises botocore's errors."""
        answer = self._aws.call("s3", "get_object", **self._at(name))
        with closing(answer["Body"]) as body:
            return answer, body.read(most) if most else b""

    def _put(self, name: str, body: bytes) -> None:
        self._call("put_object", **self._at(name), **self._encryption, Body=body)

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}/{name}"}

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._aws.call("s3", operation, **arguments)
        except (BotoCoreError, ClientError) as err:
            raise self._error(err, operation) from err
        return answer

    def _error(self, err: BotoCoreError | ClientError, operation: str) -> SmsweepError:
        error = self._aws.error(err, "s3", operation)
        is_retryable = isinstance(error, SmsweepError) and error.retryable
        return (StoreUnavailable if is_retryable else StoreError)(f"{self.uri}: {error}")


def _is(err: Exception, codes: tuple[str, ...]) -> bool:
    return isinstance(err, ClientError) and code_of(err) in codes


def _document(text: bytes) -> dict[str, Any]:
    """Return a JSON object; {} for anything else."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
