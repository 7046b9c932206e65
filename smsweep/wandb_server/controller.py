"""Decides for a sweep on W&B's server: one trial for each run that it still has to give; it chooses the params."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from smsweep.controller import Controller
from smsweep.runtime.identity import IDLE, RUN
from smsweep.trials import Trial
from smsweep.wandb_server.sweep import HostedSweep

log = logging.getLogger(__name__)

LOOK_S = 10.0  # between two looks at the server


class HostedController(Controller):
    """As any other, but W&B says whether there is more to do. Its trials have no params of their own.

    look: reads the sweep from the server; clock: aware UTC.
    """

    def __init__(
        self, *args: Any, look: Callable[[], HostedSweep], clock: Callable[[], datetime], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._look = look
        self._clock = clock
        self._looked_at: datetime | None = None
        self._hosted: HostedSweep | None = None
        self._first = 0  # number of the first trial that this agent could have added
        self._has_ended = False  # by what a trial heard from the server

    def refresh(self) -> None:
        super().refresh()
        self._first = self._first or self.history.next_number

    def propose(self, n: int) -> int:
        """Add trials as long as the server has runs for them, as far as that can be known beforehand."""
        wanted = min(n, self._room(), self._open_runs())
        if wanted <= 0 or self._has_ended:
            return 0
        added = self._store.add_trials(self.sweep.id, self.history.next_number, [{}] * wanted)
        self.note(added)
        return len(added)

    def is_exhausted(self) -> bool:
        return self._has_ended or min(self._room(), self._open_runs()) <= 0

    def missing_objective(self, trial: Trial) -> str:
        """Nothing is missing where the server gave no run: there will be no more."""
        if trial.summary.get(IDLE):
            if not self._has_ended:
                log.info("sweep %s: W&B gave %s no run: the sweep has no more", self.sweep.id, trial.label)
            self._has_ended = True
            return ""
        return super().missing_objective(trial)

    def _open_runs(self) -> int:
        """Return how many runs the server may still give, beyond those that our trials are about to get."""
        now = self._clock()
        if self._hosted is None or self._looked_at is None or (now - self._looked_at).total_seconds() >= LOOK_S:
            self._hosted, self._looked_at = self._look(), now
        if not self._hosted.is_open:
            return 0
        if self._hosted.n_expected is None:
            return len(self.history) + 1_000_000  # no end
        waiting = sum(1 for trial in self.history if not trial.state.is_terminal and RUN not in trial.summary)
        return self._hosted.n_expected - self._hosted.n_runs - waiting
