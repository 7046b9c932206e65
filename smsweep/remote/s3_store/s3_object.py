"""A store kept in S3: one writer at a time replaces it, anybody reads it, and small orders lie beside it.

Each replacement names the version that it replaces (S3's conditional writes), so that a writer who was taken for
dead and comes back cannot undo what another has written since.
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
from typing import IO, Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.aws.client import Aws
from smsweep.aws.errors import code_of
from smsweep.aws.s3_transfer import MISSING
from smsweep.errors import NotFound, SmsweepError, StoreDamaged, StoreError, StoreUnavailable, Superseded

STORE = "store.db.gz"
SIGN = "alive.json"  # the writer's last sign of life
ORDERS = "orders/"
REJECTED = "rejected/"  # objects that were below ORDERS and are not commands
SAME = ("304", "NotModified")
CHANGED = ("412", "PreconditionFailed")
LEVEL = 1  # of compression: what takes time is the way to S3
MOST_ORDERS = 1_000  # that one look reads; the rest come at the next
MOST_ORDER_BYTES = 1 << 16  # of one order; a longer object is not a command
MOST_SIGN_BYTES = 1 << 16
MOST_STORE_BYTES = 1 << 34  # of an unpacked store
CHUNK = 1 << 20  # bytes held in memory
RESTORE = "restore an earlier version of the object, or rebuild the sweep from its jobs with `smsweep recover`"
OWN_WRITES = 5  # earlier writes of the same writer that one call replaces


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One state of the store."""

    etag: str
    written_at: datetime  # by S3's clock


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What a replacement of the store came to."""

    etag: str
    n_bytes: int  # that were sent: the packed store


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """Something that a person wants done by whoever writes the store."""

    id: str
    document: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """An object below ORDERS. Any writer of the bucket may have put it there."""

    name: str  # its key below ORDERS
    body: bytes  # the first MOST_ORDER_BYTES
    problem: str = ""  # why it cannot be read as a command; "" if it can

    @property
    def id(self) -> str:
        return self.name.removesuffix(".json")


class Shelf:
    """uri: s3://BUCKET/PREFIX. kms_key: encrypts what is put there; "" for the bucket's own way.

    Raises StoreUnavailable where AWS does not answer, StoreError where it refuses.
    """

    def __init__(self, aws: Aws, uri: str, kms_key: str = "") -> None:
        self.uri = uri.rstrip("/")
        self._aws = aws
        self._bucket, _, self._prefix = self.uri.removeprefix("s3://").partition("/")
        self._encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}

    def fetch(self, target: Path, *, known: str = "") -> Version | None:
        """Download the store into a file; None, and no file, where it still is the version known (an etag).

        Raises NotFound when there is none.
        """
        condition = {"IfNoneMatch": known} if known else {}
        try:
            answer = self._aws.call("s3", "get_object", **self._at(STORE), **condition)
        except (BotoCoreError, ClientError) as err:
            if _is(err, SAME):
                return None
            if _is(err, MISSING):
                raise NotFound(f"{self.uri}/{STORE}: there is no store") from err
            raise self._error(err, "get_object") from err
        try:
            with closing(answer["Body"]) as body, target.open("wb") as file:
                self._unpack(body, file)
        except (gzip.BadGzipFile, zlib.error) as err:
            target.unlink()
            raise StoreDamaged(f"{self.uri}/{STORE}: it is not a packed store: {err}; {RESTORE}") from err
        except (BotoCoreError, EOFError, OSError) as err:
            target.unlink(missing_ok=True)
            raise StoreUnavailable(f"{self.uri}/{STORE}: the download broke off: {err}") from err
        except StoreDamaged:
            target.unlink()
            raise
        return Version(etag=answer["ETag"], written_at=answer["LastModified"])

    def replace(self, file: Path, *, version: str, stamp: str, writer: str = "") -> Written:
        """Put a file in the place of one version of the store.

        Args:
            file: The new store.
            version: Etag of the version that is replaced; "" if there is no store yet.
            stamp: A name for this replacement that no other has. It tells this write from others if its answer
                is lost.
            writer: What the stamps of all replacements by this writer begin with, up to their last colon. With it
                a write of an earlier call, whose answer was lost, is recognized and replaced. "" for none.

        Returns:
            The new version's etag, and its size.

        Raises:
            Superseded: If another writer has replaced that version.
            StoreUnavailable: If it is unknown whether the store was replaced. The same call may be repeated.
        """
        packed = file.with_name(f"{file.name}.gz")
        # The stamp goes into the archive's header: an etag may stand for the content alone, and two writers that
        # begin from the same store must not have the same one.
        with file.open("rb") as raw, packed.open("wb") as out, gzip.GzipFile(stamp, "wb", LEVEL, out) as zipped:
            shutil.copyfileobj(raw, zipped)
        try:
            for _ in range(OWN_WRITES):
                etag = self._put_store(packed, version, stamp)
                if etag:
                    return Written(etag=etag, n_bytes=packed.stat().st_size)
                version, found = self._newest()
                if found == stamp:
                    return Written(etag=version, n_bytes=packed.stat().st_size)
                if not writer or found.rpartition(":")[0] != writer:
                    raise Superseded(
                        f"{self.uri}: another agent has taken this store over; this one leaves it alone"
                    )
        finally:
            packed.unlink()
        raise StoreUnavailable(f"{self.uri}/{STORE}: earlier writes of this agent still arrive")

    def say_alive(self, document: dict[str, Any]) -> None:
        self._put(SIGN, json.dumps(document).encode())

    def look(self) -> tuple[dict[str, Any], timedelta | None]:
        """Return the writer's last sign of life, and how old it is; {} and None without one."""
        try:
            answer, text = self._get(SIGN, MOST_SIGN_BYTES)
        except (BotoCoreError, ClientError) as err:
            if _is(err, MISSING):
                return {}, None
            raise self._error(err, "get_object") from err
        document = _document(text)
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return document, max(now - answer["LastModified"], timedelta(0))

    def send(self, order: Order) -> None:
        self._put(f"{ORDERS}{order.id}.json", json.dumps(order.document).encode())

    def orders(self) -> list[Received]:
        """Return what is below ORDERS, oldest first, readable or not."""
        prefix = f"{self._prefix}/{ORDERS}"
        answer = self._call("list_objects_v2", Bucket=self._bucket, Prefix=prefix, MaxKeys=MOST_ORDERS)
        found = sorted(answer.get("Contents", ()), key=lambda item: (item["LastModified"], item["Key"]))
        names = [item["Key"].removeprefix(prefix) for item in found]
        return [order for name in names if name and (order := self._receive(name)) is not None]

    def has(self, order_id: str) -> bool:
        """Return True if an order has not been dropped yet."""
        return self._receive(f"{order_id}.json") is not None

    def drop(self, order: Order | Received) -> None:
        name = order.name if isinstance(order, Received) else f"{order.id}.json"
        self._call("delete_object", **self._at(f"{ORDERS}{name}"))

    def reject(self, order: Received) -> None:
        """Move an object that is not a command out of the way, to REJECTED."""
        self._put(f"{REJECTED}{quote(order.name, safe='')}", order.body)
        self.drop(order)

    def delete(self) -> None:
        """Take the store and the last sign of life away; the store last, for it is what counts."""
        for name in (SIGN, STORE):
            self._call("delete_object", **self._at(name))

    def _receive(self, name: str) -> Received | None:
        """Return one object below ORDERS; None if it is gone."""
        try:
            _, read = self._get(f"{ORDERS}{name}", MOST_ORDER_BYTES + 1)
        except (BotoCoreError, ClientError) as err:
            if _is(err, MISSING):
                return None
            error = self._error(err, "get_object")
            if error.retryable:
                raise error from err
            return Received(name=name, body=b"", problem=str(error))  # of this object alone: it was listed
        problem = f"longer than {MOST_ORDER_BYTES:,} bytes" if len(read) > MOST_ORDER_BYTES else ""
        return Received(name=name, body=read[:MOST_ORDER_BYTES], problem=problem)

    def _put_store(self, packed: Path, version: str, stamp: str) -> str:
        """Return the etag; "" if another version is there than the one to replace."""
        condition = {"IfMatch": version} if version else {"IfNoneMatch": "*"}
        try:
            with packed.open("rb") as body:
                answer = self._aws.call(
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
        return str(answer["ETag"])

    def _newest(self) -> tuple[str, str]:
        """Return the etag of the store that is there, and the stamp of the replacement that put it there."""
        try:
            # No HEAD: the answer to one has no body that says what is wrong, expired credentials for example.
            answer, _ = self._get(STORE, 0)
        except (BotoCoreError, ClientError) as err:
            if _is(err, MISSING):
                raise Superseded(f"{self.uri}: the store is gone; somebody deleted it") from err
            raise self._error(err, "get_object") from err
        return str(answer["ETag"]), str(answer.get("Metadata", {}).get("writer", ""))

    def _unpack(self, body: IO[bytes], file: IO[bytes]) -> None:
        with gzip.GzipFile(fileobj=body) as packed:
            while chunk := packed.read(CHUNK):
                if file.tell() + len(chunk) > MOST_STORE_BYTES:
                    raise StoreDamaged(
                        f"{self.uri}/{STORE}: it unpacks to more than {MOST_STORE_BYTES:,} bytes; {RESTORE}"
                    )
                file.write(chunk)

    def _get(self, name: str, most: int) -> tuple[dict[str, Any], bytes]:
        """Return S3's answer, and at most so many bytes of the object. Raises botocore's errors."""
        answer = self._aws.call("s3", "get_object", **self._at(name))
        with closing(answer["Body"]) as body:
            return answer, body.read(most) if most else b""

    def _put(self, name: str, body: bytes) -> None:
        self._call("put_object", **self._at(name), **self._encryption, Body=body)

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}/{name}"}

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        try:
            return self._aws.call("s3", operation, **arguments)
        except (BotoCoreError, ClientError) as err:
            raise self._error(err, operation) from err

    def _error(self, err: BotoCoreError | ClientError, operation: str) -> SmsweepError:
        found = self._aws.error(err, "s3", operation)
        is_retryable = isinstance(found, SmsweepError) and found.retryable
        return (StoreUnavailable if is_retryable else StoreError)(f"{self.uri}: {found}")


def _is(err: Exception, codes: tuple[str, ...]) -> bool:
    return isinstance(err, ClientError) and code_of(err) in codes


def _document(text: bytes) -> dict[str, Any]:
    """Return a JSON object; {} for anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
