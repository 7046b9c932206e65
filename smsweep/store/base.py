"""The table of sweeps and trials, as everything above sees it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from smsweep.core.sweep import Sweep, SweepState
from smsweep.core.trial import MetricPoint, Params, Scalar, Trial, TrialState


class Store(Protocol):
    """Returns snapshots; every method is one transaction and leaves all or nothing.

    Every method raises StoreUnavailable when the database cannot be reached or stays locked, StoreDamaged when no
    further try can help, and NotFound for an id that does not exist.
    """

    def create_sweep(self, sweep: Sweep) -> Sweep:
        """Keep a new sweep as it is. Raises StoreConflict when its id is taken."""
        ...

    def get_sweep(self, sweep_id: str) -> Sweep: ...

    def list_sweeps(self) -> list[Sweep]:
        """Newest first."""
        ...

    def set_sweep_state(
        self, sweep_id: str, expect: Collection[SweepState], to: SweepState, *, revision: int | None = None
    ) -> Sweep:
        """Change a sweep's state.

        Raises StoreConflict when the sweep is in none of the expected states or, with revision, when the sweep or
        any of its trials changed after that revision.
        """
        ...

    def add_trials(self, sweep_id: str, first_number: int, params: Sequence[Params]) -> list[Trial]:
        """Add pending trials numbered from first_number.

        Raises StoreConflict when a number is taken or is not the next (somebody else decided: read again),
        or when the sweep takes no trials in its state.
        """
        ...

    def list_trials(self, sweep_id: str, *, since: int | None = None, curve_of: str | None = None) -> list[Trial]:
        """Return trials by ascending revision.

        since: only what changed after this revision (0 for everything ever), removed trials included; None for
        the trials that are in the sweep now. curve_of: fill `curve` with the finite values of that metric, one a
        row: of several consecutive points with the same step the last counts.
        """
        ...

    def get_trial(self, sweep_id: str, number: int) -> Trial: ...

    def count_trials(self, sweep_id: str) -> Mapping[TrialState, int]:
        """How many trials are in each state, removed ones apart; states without any are absent."""
        ...

    def claim(
        self, sweep_id: str, agent_id: str, place: str, lease_s: float, *, abandoned_only: bool = False
    ) -> Trial | None:
        """Take an active trial whose lease has run out, else the oldest pending one; None if there is neither.

        One with an expired lease keeps state, attempt, job and place, and changes hands; it comes first, for its
        job may be running unwatched. A pending trial becomes running with its job's name, place and start
        written; pending ones are only given out while the sweep is running. abandoned_only: never a pending one.
        """
        ...

    def renew(self, agent_id: str, lease_s: float) -> set[tuple[str, int]]:
        """Prolong all leases of an agent and return the (sweep id, number) it still holds."""
        ...

    def release(self, agent_id: str) -> None:
        """Let all leases of an agent run out now: it is known to be gone."""
        ...

    def holders(self, sweep_id: str) -> set[str]:
        """Ids of the agents that hold active trials of the sweep."""
        ...

    def move(
        self,
        sweep_id: str,
        number: int,
        expect: Collection[TrialState],
        to: TrialState,
        *,
        reason: str = "",
        asked_by: str = "",
        exit_code: int | None = None,
        agent_id: str | None = None,
        retries: Mapping[str, int] | None = None,
        usage: Mapping[str, Any] | None = None,
        lasted_s: float | None = None,
    ) -> Trial:
        """Change a trial's state. To pending: attempt + 1, unclaimed, cursor "", job's name empty.

        retries, usage: replace the trial's; None leaves them. lasted_s: seconds from the trial's start to its end,
        by a clock that is never set back; None if its end is now.

        asked_by: with a move to stopping, who asked ("rule", "person" or "agent"); kept until the next attempt.

        Raises StoreConflict when the trial is in none of the expected states or, with agent_id, when that
        agent does not hold it.
        """
        ...

    def append_points(
        self,
        sweep_id: str,
        number: int,
        points: Sequence[MetricPoint],
        cursor: str,
        *,
        expect_cursor: str,
        summary: Mapping[str, Scalar] | None = None,
        agent_id: str | None = None,
    ) -> Trial:
        """Add points and the log position they were read up to, or neither.

        Raises StoreConflict when the stored cursor is not expect_cursor: somebody else read those lines; or, with
        agent_id, when that agent does not hold the trial.
        summary: values to merge into the trial's own summary.
        The first points of a new attempt replace what earlier attempts reported at the same or a later step
        (all of it, when they have no step): a restart from a checkpoint goes on, one from scratch starts over.
        """
        ...

    def read_points(
        self, sweep_id: str, number: int, *, names: Collection[str] | None = None, after: int = 0
    ) -> list[MetricPoint]:
        """Return a trial's points in the order reported, as far as no later attempt replaced them.

        after: leave out so many, for one who has read them.
        """
        ...

    def remove_trial(self, sweep_id: str, number: int) -> Trial:
        """Take a trial out of the sweep; its number is never used again.

        Raises StoreConflict while it is active.
        """
        ...

    def remove_sweep(self, sweep_id: str) -> None:
        """Delete a sweep with its trials and points. Raises StoreConflict while a trial is active."""
        ...

    def put_note(self, sweep_id: str, key: str, value: Any) -> None:
        """Keep a small JSON value with a sweep (where its source lies, what an agent noticed)."""
        ...

    def add_note(self, sweep_id: str, key: str, value: Any) -> bool:
        """Keep a value where there is none yet; False when there is. Of several callers one is first."""
        ...

    def get_note(self, sweep_id: str, key: str) -> Any:
        """Return that value; None when there is none."""
        ...

    def close(self) -> None: ...
