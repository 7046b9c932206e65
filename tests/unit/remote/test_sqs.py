"""Queue consumer with temporary errors of SQS."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from smsweep.errors import AccessDenied, BackendUnavailable, JobError, SmsweepError, SourceError, TrialsFailed
from smsweep.remote.sqs import Invitation, Queue, consume

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/sweeps"


class Sqs:
    """SQS with a list of errors for the next deletions. A message that is not deleted is delivered again."""

    def __init__(self, bodies: list[str], refusals: list[JobError]) -> None:
        self.bodies = bodies
        self.refusals = refusals
        self.n_received = Counter[str]()
        self.now = datetime(2026, 1, 1, tzinfo=timezone.utc)

    def translated(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        if operation == "receive_message":
            self.now += timedelta(seconds=60)
            found = [
                {
                    "MessageId": body,
                    "Body": body,
                    "ReceiptHandle": body,
                    "Attributes": {"ApproximateReceiveCount": str(self._count(body))},
                }
                for body in self.bodies[:1]
            ]
            return {"Messages": found} if found else {}
        if operation == "delete_message":
            if self.refusals:
                raise self.refusals.pop()
            self.bodies.remove(arguments["ReceiptHandle"])
        return {}

    def _count(self, body: str) -> int:
        self.n_received[body] += 1
        return self.n_received[body]

    def consume(self, *codes: int | SmsweepError) -> tuple[int, list[str]]:
        """Return the consumer's exit code and the sweeps that it worked on."""
        worked: list[str] = []

        def work(invitation: Invitation) -> int:
            worked.append(invitation.sweep_id)
            code = codes[min(len(worked), len(codes)) - 1]
            if isinstance(code, SmsweepError):
                raise code
            return code

        queue = Queue(self, URL, hidden_s=30)
        return consume(queue, work, patience_s=100, clock=lambda: self.now, sleep=lambda s: None), worked


@pytest.mark.parametrize("done", [0, TrialsFailed("all of them")])
def test_message_is_received_again_when_its_deletion_fails(
    done: int | TrialsFailed,
) -> None:
    sqs = Sqs([Invitation(sweep_id=name).text() for name in ("one", "two")], [BackendUnavailable("busy")])
    _, worked = sqs.consume(done)
    assert worked == ["one", "one", "two"]
    assert sqs.bodies == []


def test_consumer_ends_when_deletion_is_denied() -> None:
    sqs = Sqs([Invitation(sweep_id="one").text()], [AccessDenied("sqs:DeleteMessage")])
    with pytest.raises(AccessDenied):
        sqs.consume(0)


def test_broken_source_does_not_block_the_next_sweep() -> None:
    sqs = Sqs([Invitation(sweep_id=name).text() for name in ("one", "two")], [])
    broken = SourceError("another than the sweep's")
    assert sqs.consume(broken, broken, broken, 0) == (0, ["one", "one", "one", "two"])
    assert sqs.bodies == []


@pytest.mark.parametrize("source", ["s3://bucket", "http://bucket/prefix", "s3:///prefix", "/here"])
def test_invitation_with_invalid_source_is_rejected(source: str) -> None:
    sqs = Sqs([Invitation(sweep_id="one", source=source).text()], [])
    assert sqs.consume(0) == (0, [])
    assert sqs.bodies == []
