"""The interface of the store: sweeps, their trials, metric points and notes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from smsweep.core.agent_record import AgentRecord
from smsweep.core.job import JobTemplate
from smsweep.core.sweep import ConfigRevision, Sweep, SweepConfig, SweepState
from smsweep.core.trial import MetricPoint, Params, Scalar, Trial, TrialState

# Parses a stored sweep's sweep.yaml and job.yaml, in this order. job.yaml is "" for a sweep without one.
ParseStored = Callable[[str, str], tuple[SweepConfig, JobTemplate]]


def adopt_all(trial: Trial, expired_s: float) -> bool:
    """Return True. The default of `Store.claim`."""
    return True


class Store(Protocol):
    """Stores sweeps. Methods return snapshots, and each method is one transaction.

    Every method raises StoreUnavailable if the database cannot be reached or stays locked, StoreDamaged if a retry
    cannot help, and NotFound for an id that does not exist.
    """

    def create_sweep(self, sweep: Sweep) -> Sweep:
        """Store a new sweep.

        Raises:
            StoreConflict: If the id is in use.
        """
        ...

    def get_sweep(self, sweep_id: str) -> Sweep:
        """Return a sweep."""
        ...

    def list_sweeps(self) -> list[Sweep]:
        """Return all sweeps, newest first."""
        ...

    def set_sweep_state(
        self, sweep_id: str, expect: Collection[SweepState], to: SweepState, *, revision: int | None = None
    ) -> Sweep:
        """Change the state of a sweep.

        Cancelling a cancelled sweep again sets the note KILLS_AT_ONCE; every other change clears it.

        Args:
            sweep_id: Id of the sweep.
            expect: States from which the change is valid.
            to: The new state.
            revision: If set, the sweep and its trials must not have changed after this revision.

        Raises:
            StoreConflict: If the sweep has another state or a newer revision.
        """
        ...

    def set_source_hash(self, sweep_id: str, source_hash: str) -> Sweep:
        """Set the source of a sweep that has none: a function, which is packed when its first agent starts.

        Args:
            sweep_id: Id of the sweep.
            source_hash: Hash of the source bundle.

        Returns:
            The sweep. If it has a source already, it is unchanged.
        """
        ...

    def change_config(
        self,
        sweep_id: str,
        number: int,
        *,
        sweep_yaml: str,
        job_yaml: str,
        changes: Mapping[str, Any],
        changed_by: str,
    ) -> Sweep:
        """Replace the config and the job template of a sweep by a new revision.

        If it sets `parallel`, the numbers that single agents got with `order_agent` no longer apply.

        Args:
            sweep_id: Id of the sweep.
            number: Number of the new revision, which must be the next one.
            sweep_yaml: The new config as YAML text. It must be valid.
            job_yaml: The new job config as YAML text; "" without one.
            changes: Changed key -> new value, or None if it was removed.
            changed_by: The user, as USER@HOST.

        Returns:
            The changed sweep.

        Raises:
            StoreConflict: If another process changed the config first.
        """
        ...

    def list_revisions(self, sweep_id: str) -> list[ConfigRevision]:
        """Return the revisions of the config of a sweep, sorted by number, at least one."""
        ...

    def add_trials(
        self,
        sweep_id: str,
        first_number: int,
        params: Sequence[Params],
        *,
        repeats: Sequence[tuple[int, int]] = (),
        config_revision: int | None = None,
    ) -> list[Trial]:
        """Add pending trials.

        Args:
            sweep_id: Id of the sweep.
            first_number: Number of the first trial, which must be the next free number.
            params: Params of each trial.
            repeats: For each trial, the number of the trial that it repeats with a new seed, and which repeat it
                is, from 1. Empty if the trials repeat no other trials.
            config_revision: The revision of the config that the trials are for; None for any.

        Returns:
            The new trials.

        Raises:
            StoreConflict: If another process added trials or changed the config first, or the state of the sweep
                allows no new trials.
        """
        ...

    def list_trials(self, sweep_id: str, *, since: int | None = None, curve_of: str | None = None) -> list[Trial]:
        """Return trials, sorted by revision.

        Args:
            sweep_id: Id of the sweep.
            since: Return the trials that changed after this revision, including removed trials; 0 for all
                changes. None for all trials of the sweep without removed ones.
            curve_of: A metric. `Trial.curve` gets its finite values. Of consecutive points with the same step,
                the last one counts.
        """
        ...

    def get_trial(self, sweep_id: str, number: int) -> Trial:
        """Return a trial, also if it was removed."""
        ...

    def count_trials(self, sweep_id: str) -> Mapping[TrialState, int]:
        """Return state -> number of trials, without removed trials. States without trials are left out."""
        ...

    def claim(
        self,
        sweep_id: str,
        agent_id: str,
        place: str,
        lease_s: float,
        *,
        place_name: str = "",
        continues: Collection[int] = (),
        adopts: Callable[[Trial, float], bool] = adopt_all,
        abandoned_only: bool = False,
    ) -> Trial | None:
        """Assign a trial to an agent: an active trial with an expired lease, else the oldest pending trial.

        A trial with an expired lease comes first, because its job may run without an agent. It keeps its state,
        attempt, job and place. A pending trial becomes running, with its job name, place and start time, which is
        also the start of its lease. Pending trials are only assigned while the sweep is running, and only to the
        place that has their checkpoints.

        Args:
            sweep_id: Id of the sweep.
            agent_id: Id of the agent.
            place: Backend and location of the agent's jobs.
            lease_s: Seconds until the lease expires.
            place_name: Name of the place in the agent's list.
            continues: Numbers of pending trials whose checkpoints at another place can be read at this one.
            adopts: Returns True if the agent can adopt an active trial whose lease expired the given number of
                seconds ago. The others are not assigned.
            abandoned_only: If True, no pending trial is assigned.

        Returns:
            The trial; None if there is none to assign.
        """
        ...

    def set_place(self, sweep_id: str, number: int, agent_id: str, place: str, place_name: str = "") -> Trial:
        """Move a trial that has no job yet to another place.

        Args:
            sweep_id: Id of the sweep.
            number: Number of the trial.
            agent_id: Id of the agent that holds the trial.
            place: Backend and location of the agent's jobs.
            place_name: Name of the place in the agent's list.

        Raises:
            StoreConflict: If the trial is not running, or `agent_id` does not hold it.
        """
        ...

    def renew(self, agent_id: str, lease_s: float) -> set[tuple[str, int]]:
        """Extend all leases of an agent, and return (sweep id, number) of the trials that it still holds."""
        ...

    def release(self, agent_id: str) -> None:
        """End all leases of an agent that has exited."""
        ...

    def holders(self, sweep_id: str) -> set[str]:
        """Return the ids of the agents that hold active trials of a sweep."""
        ...

    def put_agent(self, agent: AgentRecord) -> None:
        """Record an agent that works on a sweep, or replace its record. Its heartbeat is now."""
        ...

    def beat(self, agent_id: str, slots: Mapping[str, int]) -> AgentRecord | None:
        """Record the heartbeat of an agent, and return its record with the orders of the user.

        Args:
            agent_id: Id of the agent.
            slots: Place -> number of trials that can run there at the same time.

        Returns:
            The record; None if there is none.
        """
        ...

    def remove_agent(self, agent_id: str) -> None:
        """Remove the record of an agent that has exited."""
        ...

    def order_agent(
        self, sweep_id: str, agent_id: str, *, order: str = "", parallel: int | None = None
    ) -> AgentRecord:
        """Give an agent an order, which it reads at its next poll.

        Args:
            sweep_id: Id of the sweep that the agent works on.
            agent_id: Id of the agent.
            order: "drain", "stop", or "" for no new one.
            parallel: The new number of its slots; None for no change.

        Raises:
            NotFound: If the sweep has no such agent.
        """
        ...

    def list_agents(self, sweep_id: str | None = None) -> list[AgentRecord]:
        """Return the recorded agents of a sweep, or of all sweeps, in the order of their start.

        The list includes agents that were killed and have not been replaced.
        """
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
        keeps_place: bool = False,
    ) -> Trial:
        """Change the state of a trial.

        A move to pending starts the next attempt: no agent holds the trial, and cursor and job name are "".

        Args:
            sweep_id: Id of the sweep.
            number: Number of the trial.
            expect: States from which the change is valid.
            to: The new state.
            reason: Why, for the user.
            asked_by: With a move to stopping, who asked, as in `Trial.asked_by`. It is kept until the next
                attempt.
            exit_code: Exit code of the script; None if unknown.
            agent_id: If set, this agent must hold the trial.
            retries: New value of `Trial.retries`; None keeps the old one.
            usage: New value of `Trial.usage`; None keeps the old one.
            lasted_s: Seconds from the start of the trial to its end; None if it ends now.
            keeps_place: With a move to pending, only agents that can read the checkpoints of the trial's place may
                claim it. If False, any agent may.

        Returns:
            The trial after the change.

        Raises:
            StoreConflict: If the trial has another state, was removed, or `agent_id` does not hold it.
            ValueError: If no trial can move from an expected state to the new one.
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
        """Add metric points of a trial, and store the read position of its log.

        The first points of a new attempt replace the points of earlier attempts at the same or a later step. If
        they have no step, they replace all earlier points. So a restart from a checkpoint continues the curve,
        and a restart from the beginning replaces it.

        Args:
            sweep_id: Id of the sweep.
            number: Number of the trial.
            points: In the order in which the script reported them.
            cursor: The new read position.
            expect_cursor: The read position before.
            summary: Values to merge into the summary of the trial.
            agent_id: If set, this agent must hold the trial.

        Returns:
            The trial after the change.

        Raises:
            StoreConflict: If another process already read these lines, or `agent_id` does not hold the trial.
        """
        ...

    def read_points(
        self, sweep_id: str, number: int, *, names: Collection[str] | None = None, after: int = 0
    ) -> list[MetricPoint]:
        """Return the points of a trial in the order in which they were reported.

        Points that a later attempt replaced are not returned.

        Args:
            sweep_id: Id of the sweep.
            number: Number of the trial.
            names: Metrics to return; None for all.
            after: Number of points to skip.
        """
        ...

    def remove_trial(self, sweep_id: str, number: int) -> Trial:
        """Remove a trial from its sweep. Its number is never reused.

        Raises:
            StoreConflict: If the trial is active.
        """
        ...

    def remove_sweep(self, sweep_id: str) -> None:
        """Delete a sweep with its trials, points and notes.

        Raises:
            StoreConflict: If a trial is active.
        """
        ...

    def put_note(self, sweep_id: str, key: str, value: Any) -> None:
        """Store a small JSON value with a sweep. A value with the same key is replaced. See `store/notes.py`."""
        ...

    def add_note(self, sweep_id: str, key: str, value: Any) -> bool:
        """Store a value if the key has none yet. Return False if it has one."""
        ...

    def get_note(self, sweep_id: str, key: str) -> Any:
        """Return the value of a key; None if it has none."""
        ...

    def close(self) -> None:
        """Close the connections to the database."""
        ...
