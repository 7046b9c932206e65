"""The controller of a sweep on W&B's server: one trial per run. The server chooses the params."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from smsweep.core.trial import Trial
from smsweep.engine.controller import ATTEMPTS, Controller, Proposal
from smsweep.runtime.script.run_identity import IDLE, RUN
from smsweep.wandb_compat.hosted_sweep import HostedSweep

log = logging.getLogger(__name__)

POLL_S = 10.0  # between two polls of the server


class HostedController(Controller):
    """A controller that asks W&B whether there are more runs. Its trials have no params of their own.

    Args:
        look: Reads the sweep from the server.
        clock: Returns the time, aware UTC.
    """

    def __init__(
        self, *args: Any, look: Callable[[], HostedSweep], clock: Callable[[], datetime], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._look = look
        self._clock = clock
        self._polled_at: datetime | None = None
        self._hosted: HostedSweep | None = None
        self._has_ended = False  # a trial got this answer from the server

    def propose(self, n: int) -> Proposal:
        """Add trials while the server has runs for them, as far as this is known in advance."""
        for _ in range(ATTEMPTS):
            if (blocked := self._blocked()) is not None:
                return blocked
            if self._add([{}] * min(n, self._n_allowed())):
                return Proposal.ADDED
        return Proposal.CONTENDED

    def is_exhausted(self) -> bool:
        """Return True if the server has no more runs."""
        return self._blocked() is Proposal.EXHAUSTED

    def missing_objective(self, trial: Trial) -> str:
        """Return "" for a trial that got no run from the server, which means that the sweep has no more runs."""
        if trial.summary.get(IDLE):
            if not self._has_ended:
                log.info(
                    "sweep %s: W&B had no run for %s, so the sweep has no more runs", self.sweep.id, trial.label
                )
            self._has_ended = True
            return ""
        return super().missing_objective(trial)

    def _blocked(self) -> Proposal | None:
        if self._has_ended:
            return Proposal.EXHAUSTED
        blocked = super()._blocked()
        if blocked is not None:
            return blocked
        hosted = self._read_hosted()
        if hosted.is_paused:
            return Proposal.CLOSED
        if not hosted.is_open or hosted.n_open <= 0:
            return Proposal.EXHAUSTED
        return None if hosted.n_open > self._n_waiting() else Proposal.RESERVED

    def _n_allowed(self) -> int:
        return min(super()._n_allowed(), self._read_hosted().n_open - self._n_waiting())

    def _n_waiting(self) -> int:
        """Return how many trials wait for a run from the server."""
        return sum(1 for trial in self.history if not trial.state.is_terminal and RUN not in trial.summary)

    def _read_hosted(self) -> HostedSweep:
        now = self._clock()
        if self._hosted is None or self._polled_at is None or (now - self._polled_at).total_seconds() >= POLL_S:
            self._hosted, self._polled_at = self._look(), now
        return self._hosted
