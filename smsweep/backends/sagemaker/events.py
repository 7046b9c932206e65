"""State changes of jobs, from EventBridge through an SQS queue of this agent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from smsweep.aws.client import Aws

MAX_MESSAGES = 10  # limit of the API


class Events:
    """Reads the names of changed jobs. Duplicate and old events only cause one more Describe."""

    def __init__(self, aws: Aws, queue_url: str) -> None:
        self._aws = aws
        self._queue_url = queue_url

    def receive(self) -> list[str]:
        """Return the names of changed jobs, and delete their messages from the queue. Raises JobError."""
        answer = self._aws.translated(
            "sqs", "receive_message", QueueUrl=self._queue_url, MaxNumberOfMessages=MAX_MESSAGES, WaitTimeSeconds=0
        )
        messages = answer.get("Messages", [])
        if messages:
            entries = [
                {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
                for index, message in enumerate(messages)
            ]
            self._aws.translated("sqs", "delete_message_batch", QueueUrl=self._queue_url, Entries=entries)
        return [name for message in messages for name in _names(message)]


def _names(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield the job of a message. A message that is not such an event is ignored."""
    try:
        name = json.loads(message["Body"])["detail"]["TrainingJobName"]
    except (ValueError, KeyError, TypeError):
        return
    if isinstance(name, str):
        yield name
