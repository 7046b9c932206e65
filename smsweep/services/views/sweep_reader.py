"""The incremental reader of a sweep behind the terminal, the web page, notebooks and reports."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from smsweep.core.json_documents import SweepDocument
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.services.views.json_views import show_data
from smsweep.store.base import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialChange:
    """A trial that changed between two reads.

    Attributes:
        before: The trial at the previous read; None if it was unknown.
        now: The trial now; `now.is_removed` if it was removed.
    """

    before: Trial | None
    now: Trial


class SweepReader:
    """Reads a sweep repeatedly, each time only the changes. It never writes. Not thread-safe.

    Attributes:
        trials: The trials that exist, by number.
        removed: The revision at which each removed trial was removed, by number.
        revision: The highest revision among the trials that were read.
    """

    def __init__(self, sweep_id: str, *, has_curves: bool = False) -> None:
        """Create a reader that has read nothing yet.

        Args:
            sweep_id: Id of the sweep.
            has_curves: Read the curve of the sweep's (first) metric with each trial.
        """
        self._sweep_id = sweep_id
        self._has_curves = has_curves
        self._sweep: Sweep | None = None
        self._document: SweepDocument | None = None
        self._document_revision = -1
        self._document_s = -math.inf  # when the document was made, by the monotonic clock
        self.trials: dict[int, Trial] = {}
        self.removed: dict[int, int] = {}
        self.revision = 0

    @property
    def sweep(self) -> Sweep:
        """The sweep at the last read."""
        assert self._sweep is not None, "nothing was read yet"
        return self._sweep

    @property
    def has_read(self) -> bool:
        """True after the first read."""
        return self._sweep is not None

    @property
    def metric(self) -> str:
        """Name of the sweep's (first) metric; "" without one."""
        return metric_name(self.sweep)

    @property
    def has_active_trials(self) -> bool:
        """True if a trial was active at the last read."""
        return any(trial.state.is_active for trial in self.trials.values())

    def read(self, store: Store) -> list[TrialChange]:
        """Read the changes since the previous read.

        Returns:
            The trials that changed. At the first read, all trials.

        Raises:
            NotFound: If the sweep does not exist.
            StoreUnavailable: If the store cannot be reached; you can read again.
        """
        sweep = store.get_sweep(self._sweep_id)
        is_new = self._sweep is None or sweep.revision > self.revision
        self._sweep = sweep
        if not is_new:
            return []
        curve_of = (self.metric or None) if self._has_curves else None
        changes = []
        for trial in store.list_trials(self._sweep_id, since=self.revision, curve_of=curve_of):
            self.revision = max(self.revision, trial.revision)
            changes.append(TrialChange(before=self.trials.pop(trial.number, None), now=trial))
            if trial.is_removed:
                self.removed[trial.number] = trial.revision
            else:
                self.trials[trial.number] = trial
        return changes

    def document(self, store: Store, max_age_s: float = 0.0) -> SweepDocument:
        """Return the sweep as `smsweep show --json` prints it.

        Args:
            store: The store that `read` uses.
            max_age_s: Seconds for which the previous document is returned while the sweep's revision is the same.
                What a trial waits for, and the outlook, change without a new revision.
        """
        is_old = time.monotonic() - self._document_s >= max_age_s
        if self._document is None or self._document_revision != self.sweep.revision or is_old:
            trials = sorted(self.trials.values(), key=lambda trial: trial.number)
            self._document = show_data(store, self.sweep, trials)
            self._document_revision, self._document_s = self.sweep.revision, time.monotonic()
        return self._document


def metric_name(sweep: Sweep) -> str:
    """Return the name of the metric that is shown if only one is; "" for a sweep without metrics."""
    return next((metric.name for metric in sweep.config.all_metrics), "")
