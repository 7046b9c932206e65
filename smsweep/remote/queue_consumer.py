"""Consumer of a queue of invitations. It handles one message at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from smsweep.errors import JobError, NotFound, SmsweepError, SourceError, TrialsFailed, UsageError
from smsweep.remote.sqs import LONGEST_WAIT_S, Invitation, Message, Queue, read_invitation

log = logging.getLogger(__name__)

HIDDEN_S = 120  # a message is visible again after this time if its consumer was killed
# Wait for a message before the consumer exits. Longer than HIDDEN_S, so that messages of killed consumers arrive.
PATIENCE_S = 150
MAX_TRIES = 3  # attempts before a message goes to the dead-letter queue
RETRY_S = 30  # delay of the next attempt
EXIT_CODES_OF_SIGNALS = (130, 143)  # exit codes of an agent that SIGINT or SIGTERM has stopped


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
