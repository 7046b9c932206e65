"""Resumes the promoted trials among those that a stopping rule paused, from their checkpoints."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from smsweep.core.sweep import Sweep
from smsweep.core.trial import History, StopDecision, Trial, TrialState
from smsweep.errors import StoreConflict
from smsweep.stopping.base import PromotingRule, StoppingRule
from smsweep.store import notes
from smsweep.store.base import Store

log = logging.getLogger(__name__)


class Promotions:
    """Pauses and promotions of one sweep, by one rule.

    A trial that resumes logs its next value with the next step. A script that ignores its checkpoint logs its
    first value again. After the first such trial, no trial of the sweep is paused or promoted.

    Args:
        store: The store that has the sweep.
        sweep: The sweep. Its config has a metric.
        rule: The rule that selects the trials.
    """

    def __init__(self, store: Store, sweep: Sweep, rule: PromotingRule) -> None:
        assert sweep.config.metric is not None  # the rule compares its values
        self._store = store
        self._sweep_id = sweep.id
        self._metric_name = sweep.config.metric.name
        self._rule = rule
        self._checked: dict[int, int] = {}  # number -> attempt whose first values were checked
        self._points_before: dict[int, tuple[int, int]] = {}  # number -> attempt, points before it
        self._is_active: bool | None = None  # None before the first read

    @property
    def is_active(self) -> bool:
        """True if no script has ignored its checkpoint."""
        if self._is_active is None:
            why = notes.IGNORES_CHECKPOINTS.get(self._store, self._sweep_id)
            self._is_active = not why
            if why:
                log.warning("%s", why)
        return self._is_active

    def next_numbers(self, history: History) -> list[int]:
        """Return the numbers of the paused trials to resume now, the best ones first."""
        return self._rule.promotable(history) if self.is_active else []

    def pauses(self, decision: StopDecision) -> bool:
        """Return True if a decision of the rule pauses its trial; False if it stops the trial for good."""
        return decision.is_pause and self.is_active

    def is_below_rung(self, decision: StopDecision, history: History) -> bool:
        """Return True if a promoted trial has not yet reached a rung above the one where it was paused."""
        trial = history.get(decision.number)
        if trial is None or not self.pauses(decision):
            return False
        attempt, n_points = self._points_before.get(trial.number, (0, 0))
        if trial.attempt != attempt:
            promotion = notes.promotion(trial).get(self._store, self._sweep_id)
            n_points = promotion["points"] if promotion is not None else 0
            self._points_before[trial.number] = (trial.attempt, n_points)
        return bool(decision.evidence.get("band", math.inf) <= n_points)

    def resume(self, paused: Trial) -> bool:
        """Queue a paused trial at the place of its checkpoint.

        Returns:
            False if another agent's controller was faster, or the user removed the trial.
        """
        document = {"points": len(paused.curve), "first": self._first_time(paused)}
        resumed = replace(paused, attempt=paused.attempt + 1)
        notes.promotion(resumed).put(self._store, self._sweep_id, document)
        try:
            trial = self._store.move(
                self._sweep_id,
                paused.number,
                [TrialState.STOPPED],
                TrialState.PENDING,
                reason=f"promoted after {len(paused.curve)} points",
                keeps_place=True,
            )
        except StoreConflict:
            return False
        log.info("%s promoted after %d points", trial.label, len(paused.curve))
        return True

    def restarted(self, trials: Sequence[Trial]) -> Iterator[str]:
        """Yield an explanation for each changed trial that was promoted and started again from its first value."""
        for trial in trials:
            if not trial.attempt or not trial.curve or self._checked.get(trial.number) == trial.attempt:
                continue
            promotion = notes.promotion(trial).get(self._store, self._sweep_id)
            if promotion is None or trial.is_removed:
                self._checked[trial.number] = trial.attempt
                continue
            has_restarted = self._first_time(trial) != promotion["first"]
            if has_restarted or len(trial.curve) > promotion["points"]:
                self._checked[trial.number] = trial.attempt
            if has_restarted:
                yield (
                    f"{trial.label}: its script ignores its checkpoint, or logs no steps: after the promotion, it "
                    f"reported {self._metric_name} from the beginning, not from value {promotion['points'] + 1}; "
                    "no more trials are promoted. Save and load a checkpoint, and log with a step"
                )

    def end(self, why: str) -> None:
        """Pause and promote no more trials of the sweep."""
        self._is_active = False
        notes.IGNORES_CHECKPOINTS.put(self._store, self._sweep_id, why)
        log.warning("%s", why)

    def _first_time(self, trial: Trial) -> str:
        """Return when the first value of the metric was logged. A new first value replaces it."""
        return self._store.read_points(self._sweep_id, trial.number, names=[self._metric_name])[0].time.isoformat()


def make_promotions(store: Store, sweep: Sweep, rule: StoppingRule | None) -> Promotions | None:
    """Return the promotions of a rule that pauses trials; None for other rules."""
    return Promotions(store, sweep, rule) if isinstance(rule, PromotingRule) and rule.promotes else None
