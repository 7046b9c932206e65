"""The limit of failed trials after which an agent gives up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from smsweep.core.failure_kind import affects_every_trial, shared_reason
from smsweep.core.trial import Trial, TrialState
from smsweep.util.terminal_text import counted

QUICK_FAILURES = 3  # as W&B: within the first minute
QUICK_S = 60.0
FIRST_FAILURES = 5  # as W&B's WANDB_AGENT_MAX_INITIAL_FAILURES
SAME_FAILURES = 3  # with the same traceback: the next trial probably fails in the same way


class FailureLimit:
    """Counts the failed trials of an agent, and decides when the agent gives up.

    Until the first success, four rules hold: W&B's two rules (quick failures, first failures), the same failure
    several times, and a failure that every trial has before its script starts. After a success only
    `max_consecutive` holds.

    Args:
        started_at: When the agent started, aware UTC.
        first_failures: Number of failures without a success.
        max_consecutive: Number of failures in a row, at any time; None for no limit.
        is_off: If True, only `max_consecutive` holds.
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
    ) -> FailureLimit:
        """Read the limits from W&B's environment variables.

        Args:
            environ: `WANDB_AGENT_MAX_INITIAL_FAILURES` and `WANDB_AGENT_DISABLE_FLAPPING` are used.
            started_at: When the agent started, aware UTC.
            max_consecutive: Number of failures in a row; None for no limit.
        """
        first = environ.get("WANDB_AGENT_MAX_INITIAL_FAILURES", "")
        return cls(
            started_at,
            first_failures=int(first) if first.isdigit() else FIRST_FAILURES,
            max_consecutive=max_consecutive,
            is_off=environ.get("WANDB_AGENT_DISABLE_FLAPPING", "").lower() == "true",
        )

    def note(self, trial: Trial, now: datetime) -> str:
        """Count a trial that ended.

        Args:
            trial: The trial, in its final state.
            now: The current time, aware UTC.

        Returns:
            Why the agent must give up; "" if it continues.
        """
        if trial.state in (TrialState.FINISHED, TrialState.STOPPED):
            self._succeeded += 1
            self._reasons.clear()
            return ""
        if trial.state not in (TrialState.FAILED, TrialState.CRASHED):
            return ""
        self._reasons.append(shared_reason(trial.reason) or "no reason given")
        failures = len(self._reasons)
        trials = counted(failures, "trial")
        if self._max_consecutive is not None and failures >= self._max_consecutive:
            return self._give_up(f"{trials} in a row failed")
        if self._is_off or self._succeeded:
            return ""
        if affects_every_trial(self._reasons[-1]):
            return self._give_up("no trial of this sweep can start")
        is_quick = (now - self._started_at).total_seconds() < QUICK_S
        if failures >= self._first_failures or (is_quick and failures >= QUICK_FAILURES):
            return self._give_up(f"the first {trials} failed")
        if len(set(self._reasons[-SAME_FAILURES:])) == 1 and failures >= SAME_FAILURES:
            return self._give_up(f"{SAME_FAILURES} trials failed in the same way")
        return ""

    def _give_up(self, what: str) -> str:
        groups = Counter(self._reasons).most_common()
        failures = "; ".join(f"{count} x {reason}" for reason, count in groups)
        return f"{what}, so this agent starts no more: {failures}"
