"""Works off a queue of invitations, one at a time, until none comes any more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from smsweep.errors import JobError, NotFound, SmsweepError, SourceError, TrialsFailed, UsageError
from smsweep.remote.queue.invitation import Invitation, read_invitation
from smsweep.remote.queue.sqs import LONGEST_WAIT_S, Message, Queue

log = logging.getLogger(__name__)

HIDDEN_S = 120  # a message whose consumer vanished is seen again after so long
PATIENCE_S = 150  # without a message, before a consumer leaves: whoever vanishes gives its message back sooner
MOST_TRIES = 3  # of a message that nobody gets anywhere with, before it is set aside
RETRY_S = 30  # until the next try
TOLD_TO_GO = (130, 143)  # exit codes of an agent that was asked to leave


def consume(
    queue: Queue,
    work: Callable[[Invitation], int],
    *,
    patience_s: float = PATIENCE_S,
    clock: Callable[[], datetime],
    sleep: Callable[[float], None],
) -> int:
    """Accept invitations until none came for so long, and return an exit code: 3 when all trials of one failed.

    work: runs an agent, and returns its exit code. A message is deleted once its sweep has no more work; until
    then it stays hidden, and comes back if this process dies. Raises what `work` raises and no other message
    could cure; the message is left to others then.
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
        done = _accept(queue, message, work)
        if done in TOLD_TO_GO:
            return done
        code = max(code, done)
        since = clock()


def _accept(queue: Queue, message: Message, work: Callable[[Invitation], int]) -> int:
    """Do what one message asks for, and see to it that the queue knows."""
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
        _take_away(queue, message)
        return err.exit_code
    except (NotFound, SourceError) as err:  # of this store, or what came from S3: perhaps another fares better
        _put_back(queue, message, str(err))
        return 0
    except SmsweepError as err:
        _put_back(queue, message, str(err))
        raise
    except BaseException:
        _show(queue, message, 0)
        raise
    if code in TOLD_TO_GO:
        _show(queue, message, 0)
    else:
        _take_away(queue, message)
    return code


def _take_away(queue: Queue, message: Message) -> None:
    """Delete what is done with. Where that fails for now it comes again, and there is nothing left to do."""
    try:
        queue.delete(message)
    except JobError as err:
        if not err.retryable:
            raise
        log.warning("message %s may be delivered again: %s", message.id, err)


def _put_back(queue: Queue, message: Message, why: str) -> None:
    if message.n_received >= MOST_TRIES:
        queue.set_aside(message, f"tried {message.n_received} times, at last: {why}")
        return
    log.warning("message %s goes back into the queue: %s", message.id, why)
    _show(queue, message, RETRY_S)


def _show(queue: Queue, message: Message, after_s: int) -> None:
    with suppress(JobError):  # it comes back by itself, only later
        queue.hide(message, after_s)


@contextmanager
def _hidden(queue: Queue, message: Message) -> Iterator[None]:
    """Keep a message from others meanwhile.

    Where that fails, or after the 12 hours that SQS allows, it is delivered once more: one agent too many comes,
    and trials are claimed as ever.
    """
    is_over = threading.Event()

    def prolong() -> None:
        while not is_over.wait(HIDDEN_S / 3):
            try:
                queue.hide(message)
            except SmsweepError as err:
                log.warning("message %s may be delivered again: %s", message.id, err)

    thread = threading.Thread(target=prolong, name="visibility", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
