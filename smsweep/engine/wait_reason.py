"""Why a claimed trial has no job yet. The reason is stored with the sweep, so that commands can show it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime

from smsweep.core.json_documents import WaitingDocument
from smsweep.core.trial import Trial
from smsweep.errors import BadCredentials, CapacityError, QuotaExceeded, SmsweepError, Throttled
from smsweep.store import notes
from smsweep.store.base import Store

log = logging.getLogger(__name__)

KINDS: Mapping[type[SmsweepError], str] = {
    QuotaExceeded: "quota",
    CapacityError: "capacity",
    BadCredentials: "credentials",
}


class WaitReasons:
    """Stores the reasons of one agent. A reason counts only while that agent holds the trial.

    Args:
        store: The store of the sweep.
        agent_id: Id of the agent.
        clock: Returns the current time, aware UTC.
    """

    def __init__(self, store: Store, agent_id: str, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._agent_id = agent_id
        self._clock = clock
        self._noted: dict[int, str] = {}  # trial number -> the last stored reason

    def note(self, trial: Trial, err: SmsweepError) -> None:
        """Log and store why a trial waits, once per reason. A throttled call is not stored."""
        if self._noted.get(trial.number) == str(err):
            return
        if isinstance(err, Throttled):
            log.debug("%s waits: %s", trial.label, err)
            return
        # An error if no trial can continue, so that the user sees it with --quiet too.
        level = logging.WARNING if isinstance(err, (QuotaExceeded, CapacityError)) else logging.ERROR
        log.log(level, "%s waits: %s", trial.label, err)
        self._noted[trial.number] = str(err)
        document = {
            "for": next((kind for error, kind in KINDS.items() if isinstance(err, error)), "backend"),
            "reason": str(err),
            "limit": err.limit if isinstance(err, QuotaExceeded) else None,
            "since": self._clock().isoformat(),
            "agent_id": self._agent_id,
        }
        notes.waiting(trial).put(self._store, trial.sweep_id, document)

    def clear(self, trial: Trial) -> None:
        """Delete the reason of a trial that has a job, or needs no job."""
        if self._noted.pop(trial.number, ""):
            notes.waiting(trial).put(self._store, trial.sweep_id, None)


def read_wait_reason(store: Store, trial: Trial) -> WaitingDocument | None:
    """Return why a trial waits.

    Args:
        store: The store of the sweep.
        trial: The trial.

    Returns:
        `for` (quota, capacity, credentials or backend), `reason`, `limit` (instances, or None) and `since`
        (ISO 8601). None if the trial does not wait.
    """
    if not trial.state.is_active:
        return None
    document = notes.waiting(trial).get(store, trial.sweep_id)
    if not document or document["agent_id"] != trial.agent_id:
        return None
    return {
        "for": document["for"],
        "reason": document["reason"],
        "limit": document["limit"],
        "since": document["since"],
    }
