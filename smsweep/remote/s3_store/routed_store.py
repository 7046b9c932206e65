"""Store that reads and changes detached sweeps in their own stores, and all other sweeps in the local store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from smsweep.core.agent_record import AgentRecord
from smsweep.core.sweep import ConfigRevision, Sweep, SweepState
from smsweep.core.trial import MetricPoint, Params, Scalar, Trial, TrialState
from smsweep.errors import NotFound, StoreError, UsageError
from smsweep.store.base import Store, adopt_all

log = logging.getLogger(__name__)

R = TypeVar("R")


class RemoteStores(Protocol):
    """The detached sweeps."""

    def ids(self) -> Collection[str]:
        """Return the ids of the detached sweeps."""
        ...

    def reader(self, sweep_id: str) -> Store:
        """Return a copy of a sweep's store to read. Changes of the copy are lost."""
        ...

    def change(self, sweep_id: str, work: Callable[[Store], R], command: Mapping[str, Any]) -> R:
        """Change a sweep: send a command to its agent, or without an agent, write its store.

        Args:
            sweep_id: The sweep.
            work: Makes the change in a store, and returns the result.
            command: The same change as a command.
        """
        ...

    def drop(self, sweep_id: str) -> None:
        """Delete a sweep. Raises UsageError if an agent works on the sweep."""
        ...

    def close(self) -> None:
        """Close all copies."""
        ...


class RoutedStore:
    """Store of a workspace with detached sweeps. Calls that only agents make use the local store.

    Args:
        home: The local store.
        elsewhere: The detached sweeps.
        read_only: True to reject changes of detached sweeps. The local store has its own check.
    """

    def __init__(self, home: Store, elsewhere: RemoteStores, *, read_only: bool = False) -> None:
        self._is_read_only = read_only
        self._home = home
        self._unreachable: set[str] = (
            set()
        )  # ids of sweeps whose own store cannot be read; lists show the local copy
        self._elsewhere = elsewhere

    def create_sweep(self, sweep: Sweep) -> Sweep:
        return self._home.create_sweep(sweep)

    def get_sweep(self, sweep_id: str) -> Sweep:
        return self._of(sweep_id).get_sweep(sweep_id)

    def list_sweeps(self) -> list[Sweep]:
        home, away = self._home.list_sweeps(), self._elsewhere.ids()
        sweeps = [self._remote_or_local(sweep) if sweep.id in away else sweep for sweep in home]
        known = {sweep.id for sweep in home}
        sweeps += [self.get_sweep(sweep_id) for sweep_id in away if sweep_id not in known]
        return sorted(
            sweeps, key=lambda sweep: sweep.created_at.timestamp() if sweep.created_at else 0, reverse=True
        )

    def set_sweep_state(
        self, sweep_id: str, expect: Collection[SweepState], to: SweepState, *, revision: int | None = None
    ) -> Sweep:
        if sweep_id not in self._elsewhere.ids():
            return self._home.set_sweep_state(sweep_id, expect, to, revision=revision)
        if (
            revision is not None
        ):  # only agents set a revision, and the agent of a detached sweep does not use this class
            return self._writable(sweep_id).set_sweep_state(sweep_id, expect, to, revision=revision)
        command = {"do": "set_sweep_state", "expect": [state.value for state in expect], "to": to.value}
        return self._change(sweep_id, lambda store: store.set_sweep_state(sweep_id, expect, to), command)

    def set_source_hash(self, sweep_id: str, source_hash: str) -> Sweep:
        return self._writable(sweep_id).set_source_hash(sweep_id, source_hash)

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
        def work(store: Store) -> Sweep:
            return store.change_config(
                sweep_id,
                number,
                sweep_yaml=sweep_yaml,
                job_yaml=job_yaml,
                changes=changes,
                changed_by=changed_by,
            )

        if sweep_id not in self._elsewhere.ids():
            return work(self._home)
        # Without the texts: the agent makes and checks them, so that no command can change the program.
        command = {"do": "change_config", "number": number, "changes": dict(changes), "changed_by": changed_by}
        return self._change(sweep_id, work, command)

    def list_revisions(self, sweep_id: str) -> list[ConfigRevision]:
        return self._of(sweep_id).list_revisions(sweep_id)

    def add_trials(
        self,
        sweep_id: str,
        first_number: int,
        params: Sequence[Params],
        *,
        repeats: Sequence[tuple[int, int]] = (),
        config_revision: int | None = None,
    ) -> list[Trial]:
        return self._writable(sweep_id).add_trials(
            sweep_id, first_number, params, repeats=repeats, config_revision=config_revision
        )

    def list_trials(self, sweep_id: str, *, since: int | None = None, curve_of: str | None = None) -> list[Trial]:
        return self._of(sweep_id).list_trials(sweep_id, since=since, curve_of=curve_of)

    def get_trial(self, sweep_id: str, number: int) -> Trial:
        return self._of(sweep_id).get_trial(sweep_id, number)

    def count_trials(self, sweep_id: str) -> Mapping[TrialState, int]:
        return self._of(sweep_id).count_trials(sweep_id)

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
        return self._writable(sweep_id).claim(
            sweep_id,
            agent_id,
            place,
            lease_s,
            place_name=place_name,
            continues=continues,
            adopts=adopts,
            abandoned_only=abandoned_only,
        )

    def set_place(self, sweep_id: str, number: int, agent_id: str, place: str, place_name: str = "") -> Trial:
        return self._writable(sweep_id).set_place(sweep_id, number, agent_id, place, place_name)

    def renew(self, agent_id: str, lease_s: float) -> set[tuple[str, int]]:
        return self._home.renew(agent_id, lease_s)

    def release(self, agent_id: str) -> None:
        self._home.release(agent_id)

    def holders(self, sweep_id: str) -> set[str]:
        return self._of(sweep_id).holders(sweep_id)

    def put_agent(self, agent: AgentRecord) -> None:
        self._writable(agent.sweep_id).put_agent(agent)

    def beat(self, agent_id: str, slots: Mapping[str, int]) -> AgentRecord | None:
        return self._home.beat(agent_id, slots)

    def remove_agent(self, agent_id: str) -> None:
        self._home.remove_agent(agent_id)

    def order_agent(
        self, sweep_id: str, agent_id: str, *, order: str = "", parallel: int | None = None
    ) -> AgentRecord:
        def work(store: Store) -> AgentRecord:
            return store.order_agent(sweep_id, agent_id, order=order, parallel=parallel)

        if sweep_id not in self._elsewhere.ids():
            return work(self._home)
        command = {"do": "order_agent", "agent_id": agent_id, "order": order, "parallel": parallel}
        return self._change(sweep_id, work, command)

    def list_agents(self, sweep_id: str | None = None) -> list[AgentRecord]:
        if sweep_id is not None:
            return self._of(sweep_id).list_agents(sweep_id)
        away = self._elsewhere.ids()
        agents = [agent for agent in self._home.list_agents() if agent.sweep_id not in away]
        for each in away:
            with suppress(StoreError):  # lists show the sweeps whose store can be read
                agents += self._of(each).list_agents(each)
        return agents

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
        if sweep_id not in self._elsewhere.ids():
            return self._home.move(
                sweep_id,
                number,
                expect,
                to,
                reason=reason,
                asked_by=asked_by,
                exit_code=exit_code,
                agent_id=agent_id,
                retries=retries,
                usage=usage,
                lasted_s=lasted_s,
                keeps_place=keeps_place,
            )
        command = {
            "do": "move",
            "number": number,
            "expect": [state.value for state in expect],
            "to": to.value,
            "reason": reason,
            "asked_by": asked_by,
        }

        def work(store: Store) -> Trial:
            return store.move(sweep_id, number, expect, to, reason=reason, asked_by=asked_by)

        return self._change(sweep_id, work, command)

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
        return self._writable(sweep_id).append_points(
            sweep_id, number, points, cursor, expect_cursor=expect_cursor, summary=summary, agent_id=agent_id
        )

    def read_points(
        self, sweep_id: str, number: int, *, names: Collection[str] | None = None, after: int = 0
    ) -> list[MetricPoint]:
        return self._of(sweep_id).read_points(sweep_id, number, names=names, after=after)

    def remove_trial(self, sweep_id: str, number: int) -> Trial:
        if sweep_id not in self._elsewhere.ids():
            return self._home.remove_trial(sweep_id, number)
        command = {"do": "remove_trial", "number": number}
        return self._change(sweep_id, lambda store: store.remove_trial(sweep_id, number), command)

    def remove_sweep(self, sweep_id: str) -> None:
        if sweep_id in self._elsewhere.ids():
            if self._is_read_only:
                raise UsageError(f"sweep {sweep_id} is read-only in this session")
            self._elsewhere.drop(sweep_id)
            with suppress(NotFound):  # the local copy from before the sweep was detached
                for trial in self._home.list_trials(sweep_id):
                    if trial.state.is_active:
                        self._home.move(sweep_id, trial.number, [trial.state], TrialState.CRASHED)
                self._home.remove_sweep(sweep_id)
            return
        self._home.remove_sweep(sweep_id)

    def put_note(self, sweep_id: str, key: str, value: Any) -> None:
        self._writable(sweep_id).put_note(
            sweep_id, key, value
        )  # no command sets a note, because some notes are code

    def add_note(self, sweep_id: str, key: str, value: Any) -> bool:
        return self._writable(sweep_id).add_note(sweep_id, key, value)

    def get_note(self, sweep_id: str, key: str) -> Any:
        return self._of(sweep_id).get_note(sweep_id, key)

    def close(self) -> None:
        self._elsewhere.close()
        self._home.close()

    def _remote_or_local(self, sweep: Sweep) -> Sweep:
        """Return the sweep from its remote store.

        If the remote store cannot be read, return the local copy, so that one unreachable sweep does not hide the
        others.
        """
        try:
            return self.get_sweep(sweep.id)
        except StoreError as err:
            log.warning("sweep %s is shown as it was before it was detached: %s", sweep.id, err)
            self._unreachable.add(sweep.id)
            return sweep

    def _change(self, sweep_id: str, work: Callable[[Store], R], command: Mapping[str, Any]) -> R:
        if self._is_read_only:
            raise UsageError(f"sweep {sweep_id} is read-only in this session")
        return self._elsewhere.change(sweep_id, work, command)

    def _of(self, sweep_id: str) -> Store:
        is_away = sweep_id in self._elsewhere.ids() and sweep_id not in self._unreachable
        return self._elsewhere.reader(sweep_id) if is_away else self._home

    def _writable(self, sweep_id: str) -> Store:
        if sweep_id in self._elsewhere.ids():
            raise UsageError(f"sweep {sweep_id} is detached; only its agent can write its store")
        return self._home
