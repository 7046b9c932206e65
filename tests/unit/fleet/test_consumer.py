"""A consumer of invitations where SQS is out of order for a moment."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from smsweep.errors import AccessDenied, BackendUnavailable, JobError, TrialsFailed
from smsweep.fleet.consumer import consume
from smsweep.fleet.invitation import Invitation
from smsweep.fleet.queue import Queue

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/sweeps"


class Sqs:
    """Answers as SQS does; what it is told to delete it refuses as often as said, and delivers again."""

    def __init__(self, bodies: list[str], refusals: list[JobError]) -> None:
        self.bodies = bodies
        self.refusals = refusals
        self.now = datetime(2026, 1, 1, tzinfo=timezone.utc)

    def translated(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        if operation == "receive_message":
            self.now += timedelta(seconds=60)
            found = [
                {"MessageId": str(index), "Body": body, "ReceiptHandle": body}
                for index, body in enumerate(self.bodies[:1])
            ]
            return {"Messages": found} if found else {}
        if operation == "delete_message":
            if self.refusals:
                raise self.refusals.pop()
            self.bodies.remove(arguments["ReceiptHandle"])
        return {}

    def consume(self, *codes: int | TrialsFailed) -> tuple[int, list[str]]:
        """Return the consumer's exit code and the sweeps that it worked on."""
        worked: list[str] = []

        def work(invitation: Invitation) -> int:
            worked.append(invitation.sweep_id)
            code = codes[min(len(worked), len(codes)) - 1]
            if isinstance(code, TrialsFailed):
                raise code
            return code

        queue = Queue(self, URL, hidden_s=30)
        return consume(queue, work, patience_s=100, clock=lambda: self.now, sleep=lambda s: None), worked


@pytest.mark.parametrize("done", [0, TrialsFailed("all of them")])
def test_a_message_that_cannot_be_deleted_for_a_moment_comes_again_and_does_no_harm(
    done: int | TrialsFailed,
) -> None:
    sqs = Sqs([Invitation(sweep_id=name).text() for name in ("one", "two")], [BackendUnavailable("busy")])
    _, worked = sqs.consume(done)
    assert worked == ["one", "one", "two"]
    assert sqs.bodies == []


def test_a_consumer_that_may_not_delete_ends() -> None:
    sqs = Sqs([Invitation(sweep_id="one").text()], [AccessDenied("sqs:DeleteMessage")])
    with pytest.raises(AccessDenied):
        sqs.consume(0)
