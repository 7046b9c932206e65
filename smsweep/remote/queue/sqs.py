"""An SQS queue, as far as invitations need it."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from smsweep.errors import BackendUnavailable, UsageError

log = logging.getLogger(__name__)

BATCH = 10  # API: messages in one SendMessageBatch
LONGEST_WAIT_S = 20  # API: of one ReceiveMessage


class Calls(Protocol):
    """The way to AWS."""

    def translated(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call an operation in boto3's spelling. Raises JobError."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One delivery of a message; a second delivery of the same has another receipt."""

    id: str
    body: str
    receipt: str  # names this delivery to the queue
    n_received: int  # times it was delivered, this one included


class Queue:
    """Raises JobError where AWS does not do as told."""

    def __init__(self, calls: Calls, url: str, hidden_s: int) -> None:
        """hidden_s: how long a message that was handed out stays unseen by others."""
        if not url.startswith(("https://", "http://")):
            raise UsageError(
                f"--queue {url!r}: expected a queue's URL, such as https://sqs.REGION.amazonaws.com/..."
            )
        self.url = url
        self._calls = calls
        self._hidden_s = hidden_s
        self._graveyard: str | None = None  # URL of the dead-letter queue, "" for none; None: not asked yet

    def send(self, bodies: Sequence[str]) -> None:
        """Send all of them, in batches. Raises BackendUnavailable that says how many have been sent."""
        for start in range(0, len(bodies), BATCH):
            entries = [
                {"Id": str(start + offset), "MessageBody": body, **_of_fifo(self.url)}
                for offset, body in enumerate(bodies[start : start + BATCH])
            ]
            answer = self._call("send_message_batch", Entries=entries)
            if failed := answer.get("Failed"):
                sent = start + len(answer.get("Successful", ()))
                raise BackendUnavailable(
                    f"{self.url}: {sent} of {len(bodies)} messages were sent, then: {failed[0].get('Message')}; "
                    "publish the rest"
                )

    def receive(self, wait_s: int) -> Message | None:
        """Return the next message, or None when none came. wait_s: at most LONGEST_WAIT_S."""
        answer = self._call(
            "receive_message",
            MaxNumberOfMessages=1,
            WaitTimeSeconds=wait_s,
            VisibilityTimeout=self._hidden_s,
            AttributeNames=["ApproximateReceiveCount"],
        )
        for found in answer.get("Messages", ()):
            return Message(
                id=found["MessageId"],
                body=found["Body"],
                receipt=found["ReceiptHandle"],
                n_received=int(found.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
            )
        return None

    def hide(self, message: Message, seconds: int | None = None) -> None:
        """Keep it unseen for so long from now (None: as long as at first); 0 hands it to the next who asks."""
        hidden_s = self._hidden_s if seconds is None else seconds
        self._call("change_message_visibility", ReceiptHandle=message.receipt, VisibilityTimeout=hidden_s)

    def delete(self, message: Message) -> None:
        self._call("delete_message", ReceiptHandle=message.receipt)

    def set_aside(self, message: Message, why: str) -> None:
        """Move it to the queue's dead-letter queue, with the reason; without one it is only written to the log."""
        log.warning("message %s is set aside: %s", message.id, why)
        if graveyard := self._find_graveyard():
            reason = {"smsweep-reason": {"DataType": "String", "StringValue": why[:1000]}}
            self._calls.translated(
                "sqs",
                "send_message",
                QueueUrl=graveyard,
                MessageBody=message.body,
                MessageAttributes=reason,
                **_of_fifo(graveyard),
            )
        self.delete(message)  # last: a crash before leaves it in both, never in none

    def _find_graveyard(self) -> str:
        if self._graveyard is None:
            answer = self._call("get_queue_attributes", AttributeNames=["RedrivePolicy"])
            policy = json.loads(answer.get("Attributes", {}).get("RedrivePolicy", "{}"))
            _, _, account, name = str(policy.get("deadLetterTargetArn", ":::")).rsplit(":", 3)
            self._graveyard = (
                self._calls.translated("sqs", "get_queue_url", QueueName=name, QueueOwnerAWSAccountId=account)[
                    "QueueUrl"
                ]
                if name
                else ""
            )
        return self._graveyard

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return self._calls.translated("sqs", operation, QueueUrl=self.url, **arguments)


def _of_fifo(url: str) -> dict[str, str]:
    """Return what a FIFO queue asks of a message.

    A group each: messages of one group would wait for one another, and invitations have no order. An id each:
    they are alike, and it would leave out all but one.
    """
    if not url.endswith(".fifo"):
        return {}
    name = str(uuid.uuid4())
    return {"MessageGroupId": name, "MessageDeduplicationId": name}
