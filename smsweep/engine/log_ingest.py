"""From a job's log to its trial's points: each counts once, whoever reads and however often."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from smsweep.backends.base import Backend
from smsweep.core.trial import MetricPoint, Scalar, Trial
from smsweep.engine.metric_parser import MetricReader
from smsweep.errors import StoreConflict
from smsweep.store.base import Store

PAGES_A_LOOK = 8  # of one job's log, so that one talkative job does not starve the others
SECONDS_A_LOOK = 1.0  # likewise; a page that has begun is read to its end


class Intake:
    """Reads for one agent, and writes only to trials that it holds. on_change: told of trials with new points."""

    def __init__(
        self,
        store: Store,
        backend: Backend,
        reader: MetricReader,
        agent_id: str,
        clock: Callable[[], datetime],
        on_change: Callable[[Trial], None],
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._backend = backend
        self._reader = reader
        self._agent_id = agent_id
        self._clock = clock
        self._on_change = on_change
        self._stopwatch = stopwatch

    def read(self, trial: Trial) -> tuple[Trial, bool]:
        """Take in a job's new lines. Returns the trial as it is then, and whether its log is read to the end."""
        until_s = self._stopwatch() + SECONDS_A_LOOK
        for _ in range(PAGES_A_LOOK):
            before = trial.cursor
            page = self._backend.read_logs(trial.job_name, before)
            if page.cursor != before:
                reading = self._reader.read(page.lines, self._clock())
                trial, is_ours = self._append(trial, reading.points, page.cursor, reading.summary)
                if not is_ours:
                    return trial, False
            if page.is_last:
                return trial, True
            if page.cursor == before or self._stopwatch() > until_s:
                return trial, False
        return trial, False

    def keep(self, trial: Trial, final: Mapping[str, float]) -> Trial:
        """Take in what the platform saw last of metrics whose lines never arrived."""
        now = self._clock()
        missing = [item for item in final.items() if item[0] not in trial.metrics]
        points = [MetricPoint(name=name, value=value, time=now) for name, value in missing]
        return self._append(trial, points, trial.cursor, {})[0] if points else trial

    def _append(
        self, trial: Trial, points: Sequence[MetricPoint], cursor: str, summary: Mapping[str, Scalar]
    ) -> tuple[Trial, bool]:
        """Store points and how far the log was read. False when somebody else has read those lines."""
        try:
            written = self._store.append_points(
                trial.sweep_id,
                trial.number,
                points,
                cursor,
                expect_cursor=trial.cursor,
                summary=summary,
                agent_id=self._agent_id,
            )
        except StoreConflict:
            return self._store.get_trial(trial.sweep_id, trial.number), False
        if points:
            self._on_change(written)
        return written, True
