"""A store kept in S3: one writer at a time replaces it, anybody reads it, and small orders lie beside it.

Each replacement names the version that it replaces (S3's conditional writes), so that a writer who was taken for
dead and comes back cannot undo what another has written since.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from smsweep.backends.sagemaker.assets import MISSING
from smsweep.backends.sagemaker.client import Aws
from smsweep.backends.sagemaker.failures import code_of
from smsweep.errors import NotFound, SmsweepError, StoreError, StoreUnavailable, Superseded

STORE = "store.db.gz"
SIGN = "alive.json"  # the writer's last sign of life
ORDERS = "orders/"
SAME = ("304", "NotModified")
CHANGED = ("412", "PreconditionFailed")
LEVEL = 1  # of compression: what takes time is the way to S3
MOST_ORDERS = 1_000  # that one look reads; the rest come at the next


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One state of the store."""

    etag: str
    written_at: datetime  # by S3's clock


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """Something that a person wants done by whoever writes the store."""

    id: str
    document: dict[str, Any]


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
                shutil.copyfileobj(gzip.GzipFile(fileobj=body), file)
        except (BotoCoreError, EOFError, OSError) as err:
            raise StoreUnavailable(f"{self.uri}/{STORE}: the download broke off: {err}") from err
        return Version(etag=answer["ETag"], written_at=answer["LastModified"])

    def replace(self, file: Path, *, version: str, stamp: str) -> str:
        """Put a file in the place of one version ("" for none yet) and return its own etag.

        stamp: unlike any other replacement's; tells ours again where the answer got lost. Raises Superseded where
        another writer was here since.
        """
        packed = file.with_name(f"{file.name}.gz")
        # The stamp goes into the archive's header: an etag may stand for the content alone, and two writers that
        # begin from the same store must not have the same one.
        with file.open("rb") as raw, packed.open("wb") as out, gzip.GzipFile(stamp, "wb", LEVEL, out) as zipped:
            shutil.copyfileobj(raw, zipped)
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
                return self._ours(stamp)
            raise self._error(err, "put_object") from err
        finally:
            packed.unlink()
        return str(answer["ETag"])

    def say_alive(self, document: dict[str, Any]) -> None:
        self._put(SIGN, document)

    def look(self) -> tuple[dict[str, Any], timedelta | None]:
        """Return the writer's last sign of life, and how old it is; {} and None without one."""
        try:
            answer = self._aws.call("s3", "get_object", **self._at(SIGN))
        except (BotoCoreError, ClientError) as err:
            if _is(err, MISSING):
                return {}, None
            raise self._error(err, "get_object") from err
        with closing(answer["Body"]) as body:
            document: dict[str, Any] = json.loads(body.read())
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return document, max(now - answer["LastModified"], timedelta(0))

    def send(self, order: Order) -> None:
        self._put(f"{ORDERS}{order.id}.json", order.document)

    def orders(self) -> list[Order]:
        """Return the orders that lie here, oldest first."""
        prefix = f"{self._prefix}/{ORDERS}"
        answer = self._call("list_objects_v2", Bucket=self._bucket, Prefix=prefix, MaxKeys=MOST_ORDERS)
        found = sorted(answer.get("Contents", ()), key=lambda item: (item["LastModified"], item["Key"]))
        return [order for item in found if (order := self._read(item["Key"].removeprefix(prefix))) is not None]

    def has(self, order_id: str) -> bool:
        """Tell whether an order still lies here."""
        return self._read(f"{order_id}.json") is not None

    def drop(self, order_id: str) -> None:
        self._call("delete_object", **self._at(f"{ORDERS}{order_id}.json"))

    def delete(self) -> None:
        """Take the store and the last sign of life away; the store last, for it is what counts."""
        for name in (SIGN, STORE):
            self._call("delete_object", **self._at(name))

    def _read(self, name: str) -> Order | None:
        try:
            answer = self._aws.call("s3", "get_object", **self._at(f"{ORDERS}{name}"))
        except (BotoCoreError, ClientError) as err:
            if _is(err, MISSING):
                return None
            raise self._error(err, "get_object") from err
        with closing(answer["Body"]) as body:
            return Order(id=name.removesuffix(".json"), document=_document(body.read))

    def _ours(self, stamp: str) -> str:
        """Return the etag of what is there, if it is what we just put."""
        try:
            answer = self._aws.call("s3", "head_object", **self._at(STORE))
        except (BotoCoreError, ClientError) as err:
            if _is(err, MISSING):
                raise Superseded(f"{self.uri}: the store is gone; somebody deleted it") from err
            raise self._error(err, "head_object") from err
        if answer.get("Metadata", {}).get("writer") != stamp:
            raise Superseded(f"{self.uri}: another agent has taken this store over; this one leaves it alone")
        return str(answer["ETag"])

    def _put(self, name: str, document: dict[str, Any]) -> None:
        self._call("put_object", **self._at(name), **self._encryption, Body=json.dumps(document).encode())

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


def _document(read: Callable[[], bytes]) -> dict[str, Any]:
    """Return an order's content; {} for what is none, which nobody obeys."""
    try:
        found = json.loads(read())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
