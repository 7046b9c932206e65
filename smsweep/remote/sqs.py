"""The SQS queue of agents, the invitations that it carries, and their consumer, which handles one at a time."""

from __future__ import annotations

import json
import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from smsweep.errors import (
    BackendUnavailable,
    JobError,
    NotFound,
    SmsweepError,
    SourceError,
    TrialsFailed,
    UsageError,
)

log = logging.getLogger(__name__)

BATCH = 10  # API: maximum number of messages in SendMessageBatch
LONGEST_WAIT_S = 20  # API: maximum wait of ReceiveMessage
VERSION = 1
SWEEP_ID = r"[a-z0-9][a-z0-9-]*"
SOURCE = r"s3://[^/]+/.+"
MAX_CHARACTERS = 10_000  # limit for incoming messages; SQS allows 256 KiB
HIDDEN_S = 120  # a message is visible again after this time if its consumer was killed
# Wait for a message before the consumer exits. Longer than HIDDEN_S, so that messages of killed consumers arrive.
PATIENCE_S = 150
MAX_TRIES = 3  # attempts before a message goes to the dead-letter queue
RETRY_S = 30  # delay of the next attempt
EXIT_CODES_OF_SIGNALS = (130, 143)  # exit codes of an agent that SIGINT or SIGTERM has stopped


class Calls(Protocol):
    """Access to AWS."""

    def translated(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call an operation by its boto3 name. Raises JobError."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One delivery of a message. Each delivery has another receipt."""

    id: str
    body: str
    receipt: str  # receipt handle of this delivery
    n_received: int  # number of deliveries, including this one


class Queue:
    """An SQS queue. All methods raise JobError if SQS fails or denies the call.

    Args:
        calls: Access to AWS.
        url: URL of the queue.
        hidden_s: Visibility timeout of received messages, in seconds.

    Raises:
        UsageError: If the URL is not valid.
    """

    def __init__(self, calls: Calls, url: str, hidden_s: int) -> None:
        if not url.startswith(("https://", "http://")):
            raise UsageError(
                f"--queue {url!r}: expected the URL of a queue, such as https://sqs.REGION.amazonaws.com/..."
            )
        self.url = url
        self._calls = calls
        self._hidden_s = hidden_s
        self._dead_letter_url: str | None = (
            None  # URL of the dead-letter queue; "" if there is none; None if unknown
        )

    def send(self, bodies: Sequence[str]) -> None:
        """Send messages, in batches.

        Raises:
            BackendUnavailable: If SQS rejects a message. The error has the number of messages that were sent.
        """
        for start in range(0, len(bodies), BATCH):
            entries = [
                {"Id": str(start + offset), "MessageBody": body, **_fifo_parameters(self.url)}
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
        """Return the next message, or None if there is none within wait_s seconds (at most LONGEST_WAIT_S)."""
        answer = self._call(
            "receive_message",
            MaxNumberOfMessages=1,
            WaitTimeSeconds=wait_s,
            VisibilityTimeout=self._hidden_s,
            AttributeNames=["ApproximateReceiveCount"],
        )
        for received in answer.get("Messages", ()):
            return Message(
                id=received["MessageId"],
                body=received["Body"],
                receipt=received["ReceiptHandle"],
                n_received=int(received.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
            )
        return None

    def hide(self, message: Message, seconds: int | None = None) -> None:
        """Set the visibility timeout of a message.

        Args:
            message: A received message.
            seconds: Timeout from now; 0 makes the message visible; None for the timeout of the queue.
        """
        hidden_s = self._hidden_s if seconds is None else seconds
        self._call("change_message_visibility", ReceiptHandle=message.receipt, VisibilityTimeout=hidden_s)

    def delete(self, message: Message) -> None:
        """Delete a message."""
        self._call("delete_message", ReceiptHandle=message.receipt)

    def set_aside(self, message: Message, why: str) -> None:
        """Move a message to the dead-letter queue, with the reason. Without such a queue, delete the message."""
        log.warning("message %s is moved to the dead-letter queue: %s", message.id, why)
        if dead_letter_url := self._find_dead_letter_queue():
            reason = {"smsweep-reason": {"DataType": "String", "StringValue": why[:1000]}}
            self._calls.translated(
                "sqs",
                "send_message",
                QueueUrl=dead_letter_url,
                MessageBody=message.body,
                MessageAttributes=reason,
                **_fifo_parameters(dead_letter_url),
            )
        self.delete(message)  # last, so that a crash cannot lose the message

    def _find_dead_letter_queue(self) -> str:
        if self._dead_letter_url is None:
            answer = self._call("get_queue_attributes", AttributeNames=["RedrivePolicy"])
            policy = json.loads(answer.get("Attributes", {}).get("RedrivePolicy", "{}"))
            _, _, account, name = str(policy.get("deadLetterTargetArn", ":::")).rsplit(":", 3)
            self._dead_letter_url = (
                self._calls.translated("sqs", "get_queue_url", QueueName=name, QueueOwnerAWSAccountId=account)[
                    "QueueUrl"
                ]
                if name
                else ""
            )
        return self._dead_letter_url

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return self._calls.translated("sqs", operation, QueueUrl=self.url, **arguments)


def _fifo_parameters(url: str) -> dict[str, str]:
    """Return the additional parameters of a message in a FIFO queue; {} for other queues.

    Each message has its own group, because a group delivers one message at a time. Each has its own id, because
    the queue drops messages with equal ids.
    """
    if not url.endswith(".fifo"):
        return {}
    name = str(uuid.uuid4())
    return {"MessageGroupId": name, "MessageDeduplicationId": name}


@dataclass(frozen=True, kw_only=True, slots=True)
class Invitation:
    """An invitation to work on a sweep. It can be received twice and in any order."""

    sweep_id: str
    source: str = ""  # s3://BUCKET/PREFIX of the source bundle; "" for a shared folder

    def text(self) -> str:
        """Return the body of the message, as JSON."""
        document = {"smsweep": VERSION, "sweep": self.sweep_id}
        return json.dumps({**document, "source": self.source} if self.source else document)


def read_invitation(text: str) -> Invitation:
    """Parse the body of a message. Raises UsageError if it is not a valid invitation."""
    try:
        document = json.loads(text) if len(text) <= MAX_CHARACTERS else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("smsweep") != VERSION:
        raise UsageError(f"not an invitation to a sweep: {text[:80]!r}; send invitations with `smsweep publish`")
    sweep_id, source = document.get("sweep"), document.get("source", "")
    if not re.fullmatch(SWEEP_ID, str(sweep_id)) or not isinstance(source, str):
        raise UsageError(
            f"invitation without a valid sweep id: {text[:80]!r}; send invitations with `smsweep publish`"
        )
    if source and not re.fullmatch(SOURCE, source):
        raise UsageError(f"invalid source URI {source[:80]!r}; expected s3://BUCKET/PREFIX")
    return Invitation(sweep_id=str(sweep_id), source=source)


log = logging.getLogger(__name__)


def consume(
    queue: Queue,
    work: Callable[[Invitation], int],
    *,
    patience_s: float = PATIENCE_S,
    clock: Callable[[], datetime],
    sleep: Callable[[float], None],
) -> int:
    """Work on the sweeps in a queue, until there is no message for `patience_s` seconds.

    A message is deleted once its sweep has no more work. Until then it is hidden. If this process is killed, the
    message is visible again.

    Args:
        queue: The queue.
        work: Runs an agent, and returns its exit code.
        patience_s: Seconds to wait for a message.
        clock: Returns the current time.
        sleep: Waits a number of seconds.

    Returns:
        The highest exit code of `work`: 3 if all trials of a sweep failed.

    Raises:
        SmsweepError: Errors of `work` that the next message would raise, too. The message is visible again then.
    """
    code = 0
    since = clock()
    while True:
        try:
            message = queue.receive(min(LONGEST_WAIT_S, round(patience_s)))
        except JobError as err:
            if not err.retryable:
                raise
            log.warning("%s; trying again", err)
            sleep(1.0)
            continue
        if message is None:
            if (clock() - since).total_seconds() >= patience_s:
                log.info("no message for %g s", patience_s)
                return code
            continue
        work_code = _handle(queue, message, work)
        if work_code in EXIT_CODES_OF_SIGNALS:
            return work_code
        code = max(code, work_code)
        since = clock()


def _handle(queue: Queue, message: Message, work: Callable[[Invitation], int]) -> int:
    """Work on the sweep of one message, then delete the message or make it visible again."""
    try:
        invitation = read_invitation(message.body)
    except UsageError as err:
        queue.set_aside(message, str(err))
        return 0
    try:
        with _hidden(queue, message):
            code = work(invitation)
    except TrialsFailed as err:
        log.warning("sweep %s: %s", invitation.sweep_id, err)
        _delete(queue, message)
        return err.exit_code
    except (NotFound, SourceError) as err:  # another consumer can have another store
        _return_to_queue(queue, message, str(err))
        return 0
    except SmsweepError as err:
        _return_to_queue(queue, message, str(err))
        raise
    except BaseException:
        _make_visible(queue, message, 0)
        raise
    if code in EXIT_CODES_OF_SIGNALS:
        _make_visible(queue, message, 0)
    else:
        _delete(queue, message)
    return code


def _delete(queue: Queue, message: Message) -> None:
    """Delete a message. If this fails temporarily, the message is delivered again and has no more work."""
    try:
        queue.delete(message)
    except JobError as err:
        if not err.retryable:
            raise
        log.warning("message %s may be delivered again: %s", message.id, err)


def _return_to_queue(queue: Queue, message: Message, why: str) -> None:
    if message.n_received >= MAX_TRIES:
        queue.set_aside(message, f"failed {message.n_received} times; last error: {why}")
        return
    log.warning("message %s is returned to the queue: %s", message.id, why)
    _make_visible(queue, message, RETRY_S)


def _make_visible(queue: Queue, message: Message, after_s: int) -> None:
    with suppress(JobError):  # the message is visible again after HIDDEN_S
        queue.hide(message, after_s)


@contextmanager
def _hidden(queue: Queue, message: Message) -> Iterator[None]:
    """Hide a message from other consumers during the `with` block.

    If this fails, or after 12 hours (the limit of SQS), the message is delivered again. One more agent works on
    the sweep then, and claims other trials.
    """
    is_over = threading.Event()

    def hide_again() -> None:
        while not is_over.wait(HIDDEN_S / 3):
            try:
                queue.hide(message)
            except SmsweepError as err:
                log.warning("message %s may be delivered again: %s", message.id, err)

    thread = threading.Thread(target=hide_again, name="visibility", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
