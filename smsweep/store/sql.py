"""The store in an SQL database: an SQLite file by default, or PostgreSQL for several machines."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from smsweep.core.agent_record import FORGOTTEN_AFTER_S, AgentRecord
from smsweep.core.job import JobTemplate
from smsweep.core.sweep import ConfigRevision, Sweep, SweepConfig, SweepState
from smsweep.core.trial import MOVES, MetricPoint, Params, Scalar, Trial, TrialState
from smsweep.errors import NotInStore, StoreConflict
from smsweep.store import notes, queries
from smsweep.store.base import ParseStored, Store, adopt_all
from smsweep.store.queries import add_points
from smsweep.store.rows import clean, curve_of, moved, point_of, started, sweep_of, sweep_row, trial_of, trial_row
from smsweep.store.transactions import Transactions, reads, writes

FIRST_CHANGE = 2  # number of the revision that the first change of a config makes


class SqlStore(Store):
    """Implements `Store`. The methods are documented there."""

    def __init__(
        self,
        engine: sa.Engine,
        clock: Callable[[], datetime] | None,
        parse: ParseStored,
        sleep: Callable[[float], None],
    ) -> None:
        """Make a store of a database that has the current schema.

        Args:
            engine: The database.
            clock: Returns the current time, aware UTC; None for the clock of the server.
            parse: Parses the texts of a stored sweep.
            sleep: Waits between retries of a transaction, in seconds.
        """
        self.transactions = Transactions(engine, sleep)
        self._clock = clock
        self._parse = parse
        # By sweep id, with the number of the revision. Each revision is parsed once.
        self._parsed: dict[str, tuple[int, SweepConfig, JobTemplate]] = {}

    @writes
    def create_sweep(self, connection: sa.Connection, sweep: Sweep) -> Sweep:
        if self._find_state(connection, sweep.id) is not None:
            raise _already_exists(sweep.id)
        created = replace(sweep, created_at=sweep.created_at or self._now(connection), revision=1)
        try:
            connection.execute(queries.INSERT_SWEEP, {**sweep_row(created), "next_number": 0})
        except sa.exc.IntegrityError:
            raise _already_exists(sweep.id) from None
        return created

    @reads
    def get_sweep(self, connection: sa.Connection, sweep_id: str) -> Sweep:
        return self._sweep_of(connection.execute(queries.SWEEP, {"of_sweep": sweep_id}).one_or_none(), sweep_id)

    @reads
    def list_sweeps(self, connection: sa.Connection) -> list[Sweep]:
        return [self._sweep_of(row, row.id) for row in connection.execute(queries.SWEEPS)]

    @writes
    def set_sweep_state(
        self,
        connection: sa.Connection,
        sweep_id: str,
        expect: Collection[SweepState],
        to: SweepState,
        *,
        revision: int | None = None,
    ) -> Sweep:
        row = connection.execute(queries.SWEEP_TO_CHANGE, {"of_sweep": sweep_id}).one_or_none()
        sweep = self._sweep_of(row, sweep_id)
        if sweep.state not in (expected := tuple(expect)):
            raise StoreConflict(f"sweep {sweep_id} is {sweep.state.value}, not {_either(expected)}: read it again")
        if revision is not None and sweep.revision != revision:
            raise StoreConflict(f"sweep {sweep_id} changed after revision {revision}: read it again")
        changes = {"state": to, "revision": sweep.revision + 1}
        connection.execute(queries.UPDATE_SWEEP, {"of_sweep": sweep_id, **changes})
        if sweep.state is SweepState.CANCELLED:
            self._set_note(connection, sweep_id, notes.KILLS_AT_ONCE.key, to is SweepState.CANCELLED)
        return replace(sweep, state=to, revision=sweep.revision + 1)

    @writes
    def set_source_hash(self, connection: sa.Connection, sweep_id: str, source_hash: str) -> Sweep:
        row = connection.execute(queries.SWEEP_TO_CHANGE, {"of_sweep": sweep_id}).one_or_none()
        sweep = self._sweep_of(row, sweep_id)
        if sweep.source_hash:
            return sweep
        changed = replace(sweep, source_hash=source_hash, revision=sweep.revision + 1)
        changes = {"source_hash": changed.source_hash, "revision": changed.revision}
        connection.execute(queries.UPDATE_SWEEP, {"of_sweep": sweep_id, **changes})
        return changed

    @writes
    def change_config(
        self,
        connection: sa.Connection,
        sweep_id: str,
        number: int,
        *,
        sweep_yaml: str,
        job_yaml: str,
        changes: Mapping[str, Any],
        changed_by: str,
    ) -> Sweep:
        of_sweep = {"of_sweep": sweep_id}
        sweep = self._sweep_of(connection.execute(queries.SWEEP_TO_CHANGE, of_sweep).one_or_none(), sweep_id)
        if number != sweep.config_revision + 1:
            raise StoreConflict(f"sweep {sweep_id} has config {sweep.config_revision} now: read the sweep again")
        made = {"sweep_yaml": sweep_yaml, "job_yaml": job_yaml}
        row = {
            **made,
            "sweep_id": sweep_id,
            "number": number,
            "changes": dict(changes),
            "changed_by": clean(changed_by),
            "changed_at": self._now(connection),
            "first_number": connection.execute(queries.NEXT_NUMBER, of_sweep).scalar_one(),
        }
        if number == FIRST_CHANGE:
            connection.execute(queries.INSERT_REVISIONS, {"sweep_id": sweep_id, **asdict(_first_revision(sweep))})
        connection.execute(queries.INSERT_REVISIONS, row)
        if "parallel" in changes:  # applies to all agents, also to those with a number of their own
            connection.execute(queries.FORGET_PARALLEL, of_sweep)
        counters = {"config_revision": number, "revision": sweep.revision + 1}
        connection.execute(queries.UPDATE_SWEEP, {**of_sweep, **made, **counters})
        return self._sweep_of(connection.execute(queries.SWEEP, of_sweep).one_or_none(), sweep_id)

    @reads
    def list_revisions(self, connection: sa.Connection, sweep_id: str) -> list[ConfigRevision]:
        of_sweep = {"of_sweep": sweep_id}
        rows = connection.execute(queries.REVISIONS, of_sweep).mappings().all()
        if rows:
            return [ConfigRevision(**row) for row in rows]
        sweep = self._sweep_of(connection.execute(queries.SWEEP, of_sweep).one_or_none(), sweep_id)
        return [_first_revision(sweep)]

    @writes
    def add_trials(
        self,
        connection: sa.Connection,
        sweep_id: str,
        first_number: int,
        params: Sequence[Params],
        *,
        repeats: Sequence[tuple[int, int]] = (),
        config_revision: int | None = None,
    ) -> list[Trial]:
        values = {
            "of_sweep": sweep_id,
            "first_number": first_number,
            "in_state": SweepState.RUNNING,
            "n": len(params),
        }
        statement = queries.RESERVE_NUMBERS
        if config_revision is not None:
            statement, values["of_config"] = queries.RESERVE_NUMBERS_OF_CONFIG, config_revision
        revision = connection.execute(statement, values).scalar_one_or_none()
        if revision is None:
            state = self._find_state(connection, sweep_id)
            if state is None:
                raise self._no_sweep(sweep_id)
            if not state.takes_trials:
                raise StoreConflict(f"sweep {sweep_id} is {state.value} and takes no trials")
            raise StoreConflict(
                f"trial {sweep_id}/{first_number} is not the next, or the config changed: read the sweep again"
            )
        now = self._now(connection)
        added = [
            Trial(
                sweep_id=sweep_id,
                number=first_number + i,
                params=assignment,
                created_at=now,
                revision=revision - len(params) + 1 + i,
                confirms=confirms,
                repeat=repeat,
            )
            for i, (assignment, (confirms, repeat)) in enumerate(
                zip(params, repeats or itertools.repeat((None, 0), len(params)), strict=True)
            )
        ]
        if added:
            connection.execute(queries.INSERT_TRIALS, [trial_row(trial) for trial in added])
        return added

    @reads
    def list_trials(
        self, connection: sa.Connection, sweep_id: str, *, since: int | None = None, curve_of: str | None = None
    ) -> list[Trial]:
        statement = queries.TRIALS if since is None else queries.CHANGED_TRIALS
        since = since or 0
        rows = connection.execute(statement, {"of_sweep": sweep_id, "since": since}).all()
        if not rows:
            self._require_sweep(connection, sweep_id)
        if curve_of is None:
            return [trial_of(row) for row in rows]
        curves = self._curves(connection, sweep_id, since, curve_of)
        return [replace(trial, curve=curves.get(trial.number, ())) for trial in map(trial_of, rows)]

    @reads
    def get_trial(self, connection: sa.Connection, sweep_id: str, number: int) -> Trial:
        return self._trial(connection, queries.TRIAL, sweep_id, number)

    @reads
    def count_trials(self, connection: sa.Connection, sweep_id: str) -> Mapping[TrialState, int]:
        rows = connection.execute(queries.COUNTS, {"of_sweep": sweep_id})
        counts = {row.state: row.n for row in rows}
        if not counts:
            self._require_sweep(connection, sweep_id)
        return counts

    @writes
    def claim(
        self,
        connection: sa.Connection,
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
        now = self._now(connection)
        hold = {"agent_id": agent_id, "lease_expires_at": now + timedelta(seconds=lease_s)}
        of_sweep = {"of_sweep": sweep_id}
        takes_trials = self._require_sweep(connection, sweep_id).takes_trials and not abandoned_only
        for row in connection.execute(queries.ABANDONED, {**of_sweep, "now": now}).all():
            trial = trial_of(row)
            if adopts(trial, (now - (trial.lease_expires_at or now)).total_seconds()):
                return self._change(connection, trial, **hold)
        if not takes_trials:
            return None
        at = {"place": clean(place), "place_name": clean(place_name)}
        statement = queries.FIRST_PENDING_OR if continues else queries.FIRST_PENDING
        fits = {**of_sweep, "at_place": at["place"], **({"continues": list(continues)} if continues else {})}
        pending = connection.execute(statement, fits).one_or_none()
        if pending is None:
            return None
        trial = trial_of(pending)
        return self._change(connection, trial, **started(trial, now), **at, **hold)

    @writes
    def set_place(
        self,
        connection: sa.Connection,
        sweep_id: str,
        number: int,
        agent_id: str,
        place: str,
        place_name: str = "",
    ) -> Trial:
        trial = self._trial(connection, queries.TRIAL_TO_CHANGE, sweep_id, number)
        _check_holder(trial, agent_id)
        if trial.state is not TrialState.RUNNING:
            raise StoreConflict(f"trial {trial.label} is {trial.state.value}, not running: read it again")
        return self._change(connection, trial, place=clean(place), place_name=clean(place_name))

    @writes
    def renew(self, connection: sa.Connection, agent_id: str, lease_s: float) -> set[tuple[str, int]]:
        until = self._now(connection) + timedelta(seconds=lease_s)
        held = connection.execute(queries.SET_LEASES, {"holder": agent_id, "until": until})
        return {(sweep_id, number) for sweep_id, number in held}

    @writes
    def release(self, connection: sa.Connection, agent_id: str) -> None:
        connection.execute(queries.SET_LEASES, {"holder": agent_id, "until": self._now(connection)})

    @reads
    def holders(self, connection: sa.Connection, sweep_id: str) -> set[str]:
        held_by = set(connection.execute(queries.HOLDERS, {"of_sweep": sweep_id}).scalars())
        if not held_by:
            self._require_sweep(connection, sweep_id)
        return held_by

    @writes
    def put_agent(self, connection: sa.Connection, agent: AgentRecord) -> None:
        now = self._now(connection)
        self._lock_sweep(connection, agent.sweep_id)
        of_sweep = {"of_sweep": agent.sweep_id, "before": now - timedelta(seconds=FORGOTTEN_AFTER_S)}
        connection.execute(queries.DELETE_OLD_AGENTS, of_sweep)
        connection.execute(queries.DELETE_AGENT, {"of_agent": agent.id})
        row = {name: getattr(agent, name) for name in ("id", "sweep_id", "version", "order", "parallel")}
        row |= {"slots": dict(agent.slots), "started_at": agent.started_at or now, "seen_at": now}
        connection.execute(queries.INSERT_AGENT, row)

    @writes
    def beat(self, connection: sa.Connection, agent_id: str, slots: Mapping[str, int]) -> AgentRecord | None:
        of_agent = {"of_agent": agent_id}
        changes = {"slots": dict(slots), "seen_at": self._now(connection)}
        if not connection.execute(queries.UPDATE_AGENT, {**of_agent, **changes}).rowcount:
            return None
        return AgentRecord(**connection.execute(queries.AGENT, of_agent).mappings().one())

    @writes
    def remove_agent(self, connection: sa.Connection, agent_id: str) -> None:
        connection.execute(queries.DELETE_AGENT, {"of_agent": agent_id})

    @writes
    def order_agent(
        self,
        connection: sa.Connection,
        sweep_id: str,
        agent_id: str,
        *,
        order: str = "",
        parallel: int | None = None,
    ) -> AgentRecord:
        self._lock_sweep(connection, sweep_id)
        of_agent = {"of_agent": agent_id}
        row = connection.execute(queries.AGENT, of_agent).mappings().one_or_none()
        if row is None or row["sweep_id"] != sweep_id:
            raise NotInStore(f"sweep {sweep_id} has no agent {agent_id!r}; list its agents with: smsweep agents")
        changes: dict[str, Any] = {"order": order} if order else {}
        changes |= {"parallel": parallel} if parallel is not None else {}
        if changes:
            connection.execute(queries.UPDATE_AGENT, {**of_agent, **changes})
            connection.execute(queries.NEXT_ORDER, {"of_sweep": sweep_id})
        return AgentRecord(**{**row, **changes})

    @reads
    def list_agents(self, connection: sa.Connection, sweep_id: str | None = None) -> list[AgentRecord]:
        held: dict[str, list[int]] = {}
        for agent_id, number in connection.execute(queries.HELD):
            held.setdefault(agent_id, []).append(number)
        now = self._now(connection)
        return [
            AgentRecord(
                **row,
                trials=tuple(held.get(row["id"], ())),
                silent_s=(now - row["seen_at"]).total_seconds(),
            )
            for row in connection.execute(queries.AGENTS).mappings()
            if sweep_id is None or row["sweep_id"] == sweep_id
        ]

    @writes
    def move(
        self,
        connection: sa.Connection,
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
        expected = tuple(expect)
        for state in expected:
            if to not in MOVES[state]:
                raise ValueError(f"a trial never moves from {state.value} to {to.value}")
        trial = self._trial(connection, queries.TRIAL_TO_CHANGE, sweep_id, number)
        if trial.is_removed:
            raise StoreConflict(f"trial {trial.label} was removed from its sweep")
        if trial.state not in expected:
            raise StoreConflict(
                f"trial {trial.label} is {trial.state.value}, not {_either(expected)}: read it again"
            )
        _check_holder(trial, agent_id)
        changes = moved(trial, to, self._now(connection), lasted_s, keeps_place=keeps_place)
        changes |= {"reason": clean(reason), "exit_code": exit_code}
        if asked_by:
            changes["asked_by"] = asked_by
        optional = {"retries": retries, "usage": usage}
        changes |= {name: value for name, value in optional.items() if value is not None}
        return self._change(connection, trial, **changes)

    @writes
    def append_points(
        self,
        connection: sa.Connection,
        sweep_id: str,
        number: int,
        points: Sequence[MetricPoint],
        cursor: str,
        *,
        expect_cursor: str,
        summary: Mapping[str, Scalar] | None = None,
        agent_id: str | None = None,
    ) -> Trial:
        trial = self._trial(connection, queries.TRIAL_TO_CHANGE, sweep_id, number)
        _check_holder(trial, agent_id)
        if trial.cursor != expect_cursor:
            raise StoreConflict(
                f"the log of trial {trial.label} was read up to {trial.cursor!r}, not {expect_cursor!r}: "
                "read the trial again and continue from there"
            )
        if cursor == expect_cursor and not points and not summary:
            return trial
        changes = add_points(connection, trial, points)
        if summary:
            changes["summary"] = {**trial.summary, **summary}
        return self._change(connection, trial, **changes, cursor=cursor)

    @reads
    def read_points(
        self,
        connection: sa.Connection,
        sweep_id: str,
        number: int,
        *,
        names: Collection[str] | None = None,
        after: int = 0,
    ) -> list[MetricPoint]:
        key = {"of_sweep": sweep_id, "of_number": number, "after": after}
        if names is None:
            rows = connection.execute(queries.POINTS_AFTER, key).all()
        else:
            rows = connection.execute(queries.POINTS_NAMED, {**key, "names": [clean(n) for n in names]}).all()
        if not rows:
            self._trial(connection, queries.TRIAL, sweep_id, number)
        return [point_of(row) for row in rows]

    @writes
    def remove_trial(self, connection: sa.Connection, sweep_id: str, number: int) -> Trial:
        trial = self._trial(connection, queries.TRIAL_TO_CHANGE, sweep_id, number)
        if trial.state.is_active:
            raise StoreConflict(f"trial {trial.label} is {trial.state.value}: end it before removing it")
        return trial if trial.is_removed else self._change(connection, trial, is_removed=True)

    @writes
    def remove_sweep(self, connection: sa.Connection, sweep_id: str) -> None:
        self._lock_sweep(connection, sweep_id)
        of_sweep = {"of_sweep": sweep_id}
        if connection.execute(queries.ANY_ACTIVE, of_sweep).scalar_one():
            raise StoreConflict(f"sweep {sweep_id} has active trials: cancel it and let them end first")
        connection.execute(queries.DELETE_SWEEP, of_sweep)
        self._parsed.pop(sweep_id, None)

    @writes
    def put_note(self, connection: sa.Connection, sweep_id: str, key: str, value: Any) -> None:
        self._lock_sweep(connection, sweep_id)
        self._set_note(connection, sweep_id, key, value)

    def _set_note(self, connection: sa.Connection, sweep_id: str, key: str, value: Any) -> None:
        changed = connection.execute(queries.UPDATE_NOTE, {"of_sweep": sweep_id, "of_key": key, "value": value})
        if not changed.rowcount:
            connection.execute(queries.INSERT_NOTE, {"sweep_id": sweep_id, "key": key, "value": value})

    @writes
    def add_note(self, connection: sa.Connection, sweep_id: str, key: str, value: Any) -> bool:
        self._lock_sweep(connection, sweep_id)
        if connection.execute(queries.NOTE, {"of_sweep": sweep_id, "of_key": key}).one_or_none() is not None:
            return False
        connection.execute(queries.INSERT_NOTE, {"sweep_id": sweep_id, "key": key, "value": value})
        return True

    @reads
    def get_note(self, connection: sa.Connection, sweep_id: str, key: str) -> Any:
        row = connection.execute(queries.NOTE, {"of_sweep": sweep_id, "of_key": key}).one_or_none()
        if row is None:
            self._require_sweep(connection, sweep_id)
            return None
        return row.value

    def close(self) -> None:
        self.transactions.close()

    def _now(self, connection: sa.Connection) -> datetime:
        """Return the current time, from the clock that all users of the store share."""
        if self._clock is not None:
            return self._clock()
        now: datetime = connection.execute(queries.SERVER_TIME).scalar_one()
        return now

    def _change(self, connection: sa.Connection, trial: Trial, **changes: Any) -> Trial:
        """Write the changed fields of a trial at the next revision of the sweep. The row must be locked."""
        of_sweep = {"of_sweep": trial.sweep_id}
        changes["revision"] = connection.execute(queries.NEXT_REVISION, of_sweep).scalar_one()
        connection.execute(queries.UPDATE_TRIAL, {**of_sweep, "of_number": trial.number, **changes})
        return replace(trial, **changes)

    def _trial(self, connection: sa.Connection, statement: sa.Select[Any], sweep_id: str, number: int) -> Trial:
        row = connection.execute(statement, {"of_sweep": sweep_id, "of_number": number}).one_or_none()
        if row is None:
            self._require_sweep(connection, sweep_id)
            raise NotInStore(f"sweep {sweep_id} has no trial {number}; list its trials to see which it has")
        return trial_of(row)

    def _curves(
        self, connection: sa.Connection, sweep_id: str, since: int, metric: str
    ) -> dict[int, tuple[float, ...]]:
        rows = connection.execute(queries.CURVES, {"of_sweep": sweep_id, "since": since, "metric": clean(metric)})
        return {
            number: curve_of((step, value) for _, step, value in of_trial)
            for number, of_trial in itertools.groupby(rows, key=lambda row: row[0])
        }

    def _sweep_of(self, row: sa.Row[Any] | None, sweep_id: str) -> Sweep:
        if row is None:
            raise self._no_sweep(sweep_id)
        known = self._parsed.get(sweep_id)
        if known is None or known[0] != row.config_revision:
            known = (row.config_revision, *self._parse(row.sweep_yaml, row.job_yaml))
            self._parsed[sweep_id] = known
        return sweep_of(row, *known[1:])

    def _find_state(self, connection: sa.Connection, sweep_id: str) -> SweepState | None:
        state: SweepState | None = connection.execute(
            queries.SWEEP_STATE, {"of_sweep": sweep_id}
        ).scalar_one_or_none()
        return state

    def _require_sweep(self, connection: sa.Connection, sweep_id: str) -> SweepState:
        state = self._find_state(connection, sweep_id)
        if state is None:
            raise self._no_sweep(sweep_id)
        return state

    def _lock_sweep(self, connection: sa.Connection, sweep_id: str) -> None:
        if connection.execute(queries.SWEEP_TO_CHANGE, {"of_sweep": sweep_id}).one_or_none() is None:
            raise self._no_sweep(sweep_id)

    def _no_sweep(self, sweep_id: str) -> NotInStore:
        return NotInStore(
            f"{self.transactions.name}: no sweep {sweep_id!r} in this store; set SMSWEEP_DIR or "
            "SMSWEEP_STORE to the store that has it"
        )


def _first_revision(sweep: Sweep) -> ConfigRevision:
    return ConfigRevision(
        number=1, sweep_yaml=sweep.sweep_yaml, job_yaml=sweep.job_yaml, changed_at=sweep.created_at
    )


def _check_holder(trial: Trial, agent_id: str | None) -> None:
    if agent_id is not None and trial.agent_id != agent_id:
        holder = f"held by agent {trial.agent_id}" if trial.agent_id else "not held by any agent"
        raise StoreConflict(f"trial {trial.label} is {holder}, not by agent {agent_id}: leave it alone")


def _already_exists(sweep_id: str) -> StoreConflict:
    return StoreConflict(f"a sweep {sweep_id} already exists: choose another id")


def _either(states: Iterable[SweepState | TrialState]) -> str:
    return " or ".join(state.value for state in states) or "anything"
