"""Why a trial that an agent has taken has no job yet: kept with the sweep, for whoever looks at it."""

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


class Waiting:
    """Notes for one agent; a trial's note counts only as long as that agent has it."""

    def __init__(self, store: Store, agent_id: str, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._agent_id = agent_id
        self._clock = clock
        self._noted: dict[int, str] = {}  # by trial: what it waits for, as last said

    def note(self, trial: Trial, err: SmsweepError) -> None:
        """Say and keep once why a trial waits. That its turn has not come yet is nothing to tell of."""
        if self._noted.get(trial.number) == str(err):
            return
        if isinstance(err, Throttled):
            log.debug("%s waits: %s", trial.label, err)
            return
        # An error where nothing at all goes on: who asked to hear of errors only must know what is waited for.
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
        """The trial has its job, or needs none any more."""
        if self._noted.pop(trial.number, ""):
            notes.waiting(trial).put(self._store, trial.sweep_id, None)


def read_waiting(store: Store, trial: Trial) -> WaitingDocument | None:
    """Return what a trial waits for (`for`, `reason`, `limit`, `since`); None for one that does not wait."""
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
