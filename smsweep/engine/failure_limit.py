"""When failures at the start mean that something is wrong with the sweep, not with single trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from smsweep.core.failure_kind import alike, spares_no_trial
from smsweep.core.trial import Trial, TrialState

QUICK_FAILURES = 3  # W&B: so many within the first minute
QUICK_S = 60.0
FIRST_FAILURES = 5  # W&B: WANDB_AGENT_MAX_INITIAL_FAILURES
SAME_FAILURES = 3  # with the very same traceback: the next one would have it too


class Flapping:
    """Counts an agent's failed trials and says when to give up.

    W&B's two rules, one for equal tracebacks and one for what keeps every trial from its start, but only as long
    as no trial has succeeded; plus max_consecutive at any time.
    """

    def __init__(
        self,
        started_at: datetime,
        *,
        first_failures: int = FIRST_FAILURES,
        max_consecutive: int | None = None,
        is_off: bool = False,
    ) -> None:
        self._started_at = started_at
        self._first_failures = first_failures
        self._max_consecutive = max_consecutive
        self._is_off = is_off
        self._reasons: list[str] = []  # of the failures since the last success
        self._succeeded = 0

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str], started_at: datetime, max_consecutive: int | None = None
    ) -> Flapping:
        """Honour W&B's environment variables."""
        first = environ.get("WANDB_AGENT_MAX_INITIAL_FAILURES", "")
        return cls(
            started_at,
            first_failures=int(first) if first.isdigit() else FIRST_FAILURES,
            max_consecutive=max_consecutive,
            is_off=environ.get("WANDB_AGENT_DISABLE_FLAPPING", "").lower() == "true",
        )

    def note(self, trial: Trial, now: datetime) -> str:
        """Take in how a trial ended; return why to give up, "" to go on."""
        if trial.state in (TrialState.FINISHED, TrialState.STOPPED):
            self._succeeded += 1
            self._reasons.clear()
            return ""
        if trial.state not in (TrialState.FAILED, TrialState.CRASHED):
            return ""
        self._reasons.append(alike(trial.reason) or "no reason given")
        failures = len(self._reasons)
        trials = "1 trial" if failures == 1 else f"{failures} trials"
        if self._max_consecutive is not None and failures >= self._max_consecutive:
            return self._give_up(f"{trials} in a row failed")
        if self._is_off or self._succeeded:
            return ""
        if spares_no_trial(self._reasons[-1]):
            return self._give_up("no trial of this sweep can start")
        is_quick = (now - self._started_at).total_seconds() < QUICK_S
        if failures >= self._first_failures or (is_quick and failures >= QUICK_FAILURES):
            return self._give_up(f"the first {trials} failed")
        if len(set(self._reasons[-SAME_FAILURES:])) == 1 and failures >= SAME_FAILURES:
            return self._give_up(f"{SAME_FAILURES} trials failed in the very same way")
        return ""

    def _give_up(self, what: str) -> str:
        groups = Counter(self._reasons).most_common()
        told = "; ".join(f"{count} x {reason}" for reason, count in groups)
        return f"{what}, so this agent starts no more: {told}"
