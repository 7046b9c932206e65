"""Reads the logs of jobs and stores the metric points, each exactly once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from smsweep.backends.base import Backend
from smsweep.core.trial import MetricPoint, Scalar, Trial
from smsweep.engine.metric_parser import MetricParser
from smsweep.errors import StoreConflict
from smsweep.store.base import Store

MAX_PAGES = 8  # per job and tick, so that a long log does not delay the other jobs
MAX_SECONDS = 1.0  # per job and tick; a page is always read to its end


class LogIngester:
    """Reads the logs for one agent, and writes only to trials that this agent holds.

    The points and the read position are stored in one transaction. So each line counts once, also if the agent
    is killed or another agent takes the trial over.

    Args:
        store: The store of the sweep.
        reader: Parses metrics from log lines.
        agent_id: Id of the agent.
        clock: Returns the current time, aware UTC.
        on_change: Called with each trial that got new points.
        stopwatch: Returns seconds of a monotonic clock.
    """

    def __init__(
        self,
        store: Store,
        reader: MetricParser,
        agent_id: str,
        clock: Callable[[], datetime],
        on_change: Callable[[Trial], None],
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._reader = reader
        self._agent_id = agent_id
        self._clock = clock
        self._on_change = on_change
        self._stopwatch = stopwatch

    def read(self, trial: Trial, backend: Backend) -> tuple[Trial, bool]:
        """Read the new lines of a job, and store what they report.

        Args:
            trial: The trial of the job.
            backend: Has the log.

        Returns:
            The updated trial, and True if its log was read to the end.
        """
        until_s = self._stopwatch() + MAX_SECONDS
        for _ in range(MAX_PAGES):
            before = trial.cursor
            page = backend.read_logs(trial.job_name, before)
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
        """Store the platform's last values of metrics that no log line reported.

        Args:
            trial: The trial.
            final: Metric name -> last value that the platform saw.

        Returns:
            The updated trial.
        """
        now = self._clock()
        missing = [item for item in final.items() if item[0] not in trial.metrics]
        points = [MetricPoint(name=name, value=value, time=now) for name, value in missing]
        return self._append(trial, points, trial.cursor, {})[0] if points else trial

    def _append(
        self, trial: Trial, points: Sequence[MetricPoint], cursor: str, summary: Mapping[str, Scalar]
    ) -> tuple[Trial, bool]:
        """Store points and the read position. Return False if another agent already read these lines."""
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
