"""Claims trials, submits their jobs, reads their logs, stops them, and stores their final states."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from smsweep._version import __version__
from smsweep.core.agent_record import HEARTBEAT_S, AgentRecord
from smsweep.core.failure_kind import CAPACITY, CRASHED, NAME
from smsweep.core.job import JobStatus
from smsweep.core.outcome import NextState, decide, duration_s, failure_class, retry, usage_after
from smsweep.core.sweep import SweepState
from smsweep.core.trial import Trial, TrialState
from smsweep.engine.agent_state import AgentOptions, AgentResult, HeldTrial, ShutdownLevel
from smsweep.engine.controller import Controller, Proposal
from smsweep.engine.failure_limit import FailureLimit
from smsweep.engine.log_ingest import LogIngester
from smsweep.engine.metric_parser import MetricParser
from smsweep.engine.places import QUEUED, Place, Places
from smsweep.engine.wait_reason import WaitReasons
from smsweep.errors import (
    CapacityError,
    JobError,
    JobRejected,
    NameTaken,
    QuotaExceeded,
    SmsweepError,
    StoreConflict,
    StoreError,
    Throttled,
)
from smsweep.store import notes
from smsweep.store.base import Store

log = logging.getLogger(__name__)

LEASE_S = 60.0  # without a renewal, another agent can take the trial over after this time
LAST_TRIES_S = 10.0  # retries of an agent that must exit at once but cannot reach its store or backend
OVER_BUDGET = "waits: other agents started trials at the same time, and the budget does not cover this one"
SHORTEST_SLEEP_S = 0.05  # a backend that notices the end of a job ends the sleep earlier


class Agent:
    """Runs trials of one sweep in a loop, until nothing is left to do.

    Args:
        store: The store that has the sweep.
        places: Where the jobs run, in the order of preference. At least one.
        controller: Makes the decisions.
        reader: Parses metrics from log lines.
        agent_id: Unique id of this agent, which the store keeps with each trial that the agent holds.
        options: Limits and retries.
        flapping: Decides after which failures the agent gives up.
        clock: Returns the current time, aware UTC.
        sleep: Waits for a number of seconds, or until a job ends.
        on_change: Called with each trial whose state or metrics changed.
        reuse: Returns a reason if a trial finished with a known result, without a job; else "".
        redact: Masks secrets in the failure texts of jobs.
        explain: Returns the failure text of a trial, with a hint about its cause if there is one.
        is_alive: Returns True if an agent certainly runs, by its id. False if this machine cannot know.
    """

    def __init__(
        self,
        store: Store,
        places: Sequence[Place],
        controller: Controller,
        reader: MetricParser,
        *,
        agent_id: str,
        options: AgentOptions,
        flapping: FailureLimit,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
        on_change: Callable[[Trial], None] = lambda trial: None,
        reuse: Callable[[Trial], str] = lambda trial: "",
        redact: Callable[[str], str] = lambda text: text,
        explain: Callable[[str], str] = lambda text: text,
        is_alive: Callable[[str], bool] = lambda agent_id: False,
    ) -> None:
        self._store = store
        self._controller = controller
        self._intake = LogIngester(store, reader, agent_id, clock, on_change)
        self._waiting = WaitReasons(store, agent_id, clock)
        self._reuse = reuse
        self._redact = redact
        self._explain = explain
        self._is_alive = is_alive
        self._agent_id = agent_id
        self._options = options
        self._flapping = flapping
        self._clock = clock
        self._sleep = sleep
        self._on_change = on_change
        self._sweep_id = controller.sweep.id
        self._held: dict[int, HeldTrial] = {}
        self._started = 0
        self._ended: dict[TrialState, int] = {}
        self._leaving = ShutdownLevel.NO
        self._leaves_for_machine = False  # the machine shuts down: trials become pending again instead of killed
        self._leaves_by_order = False  # so does `smsweep agents stop`
        self._renewed_at = clock()
        self._is_idle = False  # as of the last tick: no trial is left to start
        self._is_over = False  # as of the last tick: this agent has nothing to do, now or later
        self._is_contended = False  # as of the last tick: other agents were faster
        self._errors: dict[str, SmsweepError] = {}  # by place: backends that did not answer in this tick
        self._logged: dict[str, str] = {}  # the errors of the last tick
        self._rng = random.Random(agent_id)  # noqa: S311 - spreads the pauses of agents; not a secret
        self._places = Places(places, clock, self._rng)
        self._refusing: dict[str, SmsweepError] = {}  # by place: why it started no job in this tick
        self._bound: dict[int, Trial] = {}  # pending trials whose checkpoints are at a place
        self._elsewhere: dict[int, Trial] = {}  # active trials of other agents
        self._leases: dict[tuple[int, str], datetime | None] = {}  # by trial and agent: the lease first seen
        self._cursor = 0  # of the history: `_bound` and `_elsewhere` are up to date to this position
        self._trouble = ""
        self._parallel_of_config: tuple[int, int] | None = None  # as `Rules.parallel`
        self._parallel_of_order: int | None = None  # number of slots that `smsweep agents set` set last
        self._beat_at: datetime | None = None  # the last heartbeat
        self._may_be_recorded = False  # the store may have the record of this agent
        self._beat_slots: dict[str, int] = {}  # the slots that it reported
        self._n_orders = 0  # orders to the agents of the sweep, as of the last heartbeat

    def leave(self, how: ShutdownLevel | None = None, *, machine_goes: bool = False) -> ShutdownLevel:
        """Ask the agent to exit. Safe in a signal handler.

        Args:
            how: How urgently; None for one level more than before.
            machine_goes: If True, the machine shuts down: running trials become pending again, so that another
                agent continues them.

        Returns:
            The level that holds now.
        """
        self._leaving = max(self._leaving, how if how is not None else ShutdownLevel(min(self._leaving + 1, 3)))
        self._leaves_for_machine |= machine_goes
        return self._leaving

    def run(self) -> AgentResult:
        """Run ticks until nothing is left to do, and return how the trials ended."""
        try:
            return self._run()
        finally:
            with suppress(SmsweepError):  # the record of a lost agent is ignored after a minute
                if self._may_be_recorded:
                    self._store.remove_agent(self._agent_id)

    def _run(self) -> AgentResult:
        pause_s, logged = SHORTEST_SLEEP_S, ""
        failing_since: datetime | None = None
        while True:
            try:
                happened, logged, failing_since = self.tick(), "", None
            except SmsweepError as err:
                failing_since = failing_since or self._clock()
                if not err.retryable or self._must_go(failing_since):
                    raise
                if str(err) != logged:  # log each error once, however long it lasts
                    log.error("%s; trying again", err)
                logged = str(err)
                happened, pause_s = False, self._options.longest_sleep_s
            if self._is_done(is_current=failing_since is None):
                return AgentResult(ended=dict(self._ended), trouble=self._trouble, asked_by=self._asked_by())
            pause_s = SHORTEST_SLEEP_S if happened else min(pause_s * 1.5, self._options.longest_sleep_s)
            # A random pause keeps agents that collided from colliding again.
            self._sleep(pause_s * self._rng.random() if self._is_contended else pause_s)

    def tick(self) -> bool:
        """Run one round: renew leases, read jobs, judge trials, pass on stops, start trials.

        Returns:
            True if anything changed.
        """
        self._renew_leases()
        happened = self._observe()
        self._controller.refresh()
        self._trouble = self._trouble or self._controller.trouble
        self._apply_parallel()
        self._send_heartbeat()
        self._read_changes()
        self._apply_remote_changes()
        happened |= self._judge()
        self._pass_on_stops()
        happened |= self._fill_slots()
        self._is_over = self._has_nothing_to_do() and not self._may_adopt_later()
        self._log_errors()
        if self._errors and self._leaving:
            raise next(iter(self._errors.values()))  # `run` decides how long a leaving agent tries again
        return happened

    def _apply_parallel(self) -> None:
        """Change the number of slots if a new revision of the config sets it."""
        parallel = self._controller.parallel
        if parallel is not None and parallel != self._parallel_of_config:
            self._parallel_of_config = parallel
            self._parallel_of_order = None  # the revision removed the orders before it
            self._resize(parallel[1])

    def _send_heartbeat(self) -> None:
        """Send a heartbeat if it is due, slots changed or the user gave an order. Then apply the orders."""
        now, n_orders = self._clock(), self._controller.sweep.n_orders
        elapsed_s = (now - self._beat_at).total_seconds() if self._beat_at else HEARTBEAT_S
        slots = {place.label: place.slots for place in self._places.places}
        is_current = n_orders == self._n_orders and slots == self._beat_slots
        if 0 <= elapsed_s < HEARTBEAT_S and is_current:
            return
        # A record whose answer was lost can have an order already.
        record = self._store.beat(self._agent_id, slots) if self._may_be_recorded else None
        self._may_be_recorded = True
        if record is None:
            self._store.put_agent(
                AgentRecord(id=self._agent_id, sweep_id=self._sweep_id, slots=slots, version=__version__)
            )
        else:
            self._apply_orders(record)
        self._beat_at, self._beat_slots, self._n_orders = now, slots, n_orders

    def _apply_orders(self, record: AgentRecord) -> None:
        """Apply the orders of the user in the record of this agent."""
        if record.parallel != self._parallel_of_order:
            self._parallel_of_order = record.parallel
            self._resize(record.parallel)
        is_stop = record.order == "stop"
        level = ShutdownLevel.STOP if is_stop else ShutdownLevel.DRAIN
        if record.order and self._leaving < level:
            what = "stops its trials and queues them again" if is_stop else "finishes its running trials"
            log.warning("sweep %s: the user ordered %s: this agent %s", self._sweep_id, record.order, what)
            self._leaves_by_order = is_stop
            self.leave(level, machine_goes=is_stop)

    def _resize(self, n_slots: int | None) -> None:
        """Change the number of slots. Running trials finish, also beyond a lower number."""
        if n_slots is None:
            return
        if self._places.resize(n_slots):
            log.info("sweep %s: this agent now runs %s trials at the same time", self._sweep_id, n_slots)
        else:
            log.warning("sweep %s: this agent keeps the slots of its places; parallel is ignored", self._sweep_id)

    def _asked_by(self) -> str:
        if self._leaves_for_machine:
            return "machine"
        return "person" if self._leaving else ""

    def _must_go(self, failing_since: datetime) -> bool:
        """Return True if the agent must exit although it cannot store the ends of its trials.

        The next agent finds the jobs of these trials.
        """
        is_urgent = self._leaves_for_machine or self._leaving is ShutdownLevel.KILL
        return is_urgent and (self._clock() - failing_since).total_seconds() > LAST_TRIES_S

    def _is_done(self, *, is_current: bool) -> bool:
        """Return True if the agent can exit. is_current: the last tick succeeded, so nothing is unknown."""
        if self._held or not (is_current or self._leaving):
            return False
        return bool(self._leaving or self._is_used_up() or self._trouble or self._is_over)

    def _has_nothing_to_do(self) -> bool:
        state = self._controller.sweep.state
        is_open = state in (SweepState.RUNNING, SweepState.PAUSED)
        return not self._held and (not is_open or (self._is_idle and state is SweepState.RUNNING))

    def _is_used_up(self) -> bool:
        if self._options.count is not None and self._started >= self._options.count:
            return True
        return self._options.until is not None and all(map(self._has_ended, self._options.until))

    def _has_ended(self, number: int) -> bool:
        trial = self._controller.history.get(number)
        return trial is None or trial.state.is_terminal  # None: the trial was removed

    def _renew_leases(self) -> None:
        now = self._clock()
        elapsed_s = (now - self._renewed_at).total_seconds()  # negative if the clock was set back
        if not self._held or 0 <= elapsed_s < LEASE_S / 3:
            return
        kept = self._store.renew(self._agent_id, LEASE_S)
        self._renewed_at = now
        for number in [number for number in self._held if (self._sweep_id, number) not in kept]:
            log.warning("%s/%s: another agent took over this trial", self._sweep_id, number)
            del self._held[number]

    def _apply_remote_changes(self) -> None:
        """Update held trials that other processes stopped, and drop those that other agents took over."""
        for number, held in list(self._held.items()):
            known = self._controller.history.get(number)
            if known is not None and known.revision > held.trial.revision:
                held.trial = known
            if held.trial.agent_id != self._agent_id:
                log.warning("%s: another agent took over this trial", held.trial.label)
                del self._held[number]

    def _observe(self) -> bool:
        """Read the status and the new log lines of all held jobs, and store the ends of those that ended."""
        names = {held.trial.job_name: held for held in self._held.values() if held.is_submitted}
        places = {name: self._place_of(held) for name, held in names.items()}
        statuses, self._errors = self._places.describe(places)
        happened = False
        for name, held in names.items():
            self._renew_leases()  # reading a long log takes time
            place = places[name]
            if held.trial.number not in self._held or place.backend.place in self._errors:
                continue
            with self._tolerating(place):
                happened |= self._read(held, place, statuses.get(name))
        return happened

    def _read(self, held: HeldTrial, place: Place, status: JobStatus | None) -> bool:
        """Read the new log lines of a job, and store its end. Return True if it has ended."""
        held.trial, is_complete = self._intake.read(held.trial, place.backend)
        if status is None:
            held.is_submitted = held.is_stop_sent = False  # the backend does not know the job
        elif not status.is_terminal:
            self._watch_queue(held, place, status)
        elif is_complete:
            self._settle(held, status)
            return True
        return False

    @contextmanager
    def _tolerating(self, place: Place) -> Iterator[None]:
        """Keep an error of a backend that a retry can fix, so that the trials at other backends continue."""
        try:
            yield
        except JobError as err:
            if not err.retryable or self._places.has_one_backend:
                raise
            self._errors.setdefault(place.backend.place, err)

    def _log_errors(self) -> None:
        """Log the backends that do not answer, while others do. Each error is logged once."""
        for name, err in self._errors.items():
            if self._logged.get(name) != str(err):
                log.error("%s: %s; its trials continue, and the agent tries again", name, err)
        self._logged = {name: str(err) for name, err in self._errors.items()}

    def _watch_queue(self, held: HeldTrial, place: Place, status: JobStatus) -> None:
        """Stop a job that waits too long for a machine, so that its trial moves to another place."""
        if status.secondary_status not in QUEUED:
            self._places.note_running(place, held.trial)
            return
        started_at, limit_s = held.trial.started_at, place.give_up_s
        if limit_s is None or started_at is None or held.trial.state is not TrialState.RUNNING:
            return
        if (self._clock() - started_at).total_seconds() < limit_s:
            return
        if all(other is place or self._places.is_resting(other) for other, _ in self._open_places(moving=held)):
            return  # no other place can run it sooner
        reason = f"{place.label} had no machine for {limit_s:g} s (give_up_after)"
        if self._order_stop(held, reason, by="agent"):
            self._places.rest(place, CapacityError(reason))

    def _place_of(self, held: HeldTrial) -> Place:
        place = self._places.of(held.trial)
        assert place is not None  # `_start` ends the trials that this agent cannot reach
        return place

    def _judge(self) -> bool:
        """Move trials to stopping that the stopping rule selects by the metrics up to this tick."""
        stopping = self._controller.judge()
        for trial in stopping:
            if trial.number in self._held:
                self._held[trial.number].trial = trial
        return bool(stopping)

    def _settle(self, held: HeldTrial, status: JobStatus) -> None:
        """Store how a trial ended, then let the backend forget its job."""
        if status.results is not None:
            held.trial = self._intake.keep(held.trial, status.results.final_metrics)
        if self._leaves_for_machine and not held.trial.asked_by and self._order_stop(held, ""):
            status = replace(status, status="Stopped")  # the job may have ended for the same reason
        current, place = held.trial, self._place_of(held)
        if failure_class(status, current.asked_by) == CAPACITY:
            self._places.rest(place, CapacityError(status.failure_reason))
        elif status.status != "Stopped" or current.asked_by != "agent":  # it did not wait in vain for a machine
            self._places.note_ended(place)
        ruling = decide(current, status, self._options.retries)
        if ruling.to is TrialState.FINISHED and (missing := self._controller.missing_objective(current)):
            ruling = NextState(to=TrialState.FAILED, reason=missing, retries=current.retries)
        known = {
            "usage": usage_after(current, status, place.price),
            "lasted_s": duration_s(current, status, held.watched_s),
            "keeps_place": ruling.to is TrialState.PENDING and place.binds(current, status),
        }
        if self._end(held, ruling, exit_code=status.exit_code, **known):
            place.backend.forget(status.name)

    def _end(self, held: HeldTrial, ruling: NextState, **known: Any) -> bool:
        """Store the next state of a held trial, and stop holding it.

        Args:
            held: The trial.
            ruling: Its next state.
            **known: More facts about the end, as `Store.move` accepts them.

        Returns:
            False if another process changed the trial at the same time. The next tick tries again.
        """
        number, to, reason = held.trial.number, ruling.to, self._redact(ruling.reason)
        if to not in (TrialState.FINISHED, TrialState.STOPPED):
            reason = self._explain(reason)
        if to is TrialState.PENDING and "keeps_place" not in known:
            place = self._places.of(held.trial)
            known["keeps_place"] = place is not None and place.binds(held.trial)
        try:
            trial = self._store.move(
                self._sweep_id,
                number,
                [held.trial.state],
                to,
                reason=reason,
                agent_id=self._agent_id,
                retries=ruling.retries,
                **known,
            )
        except StoreConflict as err:
            log.debug("%s: reading the trial again: %s", held.trial.label, err)
            return False
        del self._held[number]
        self._controller.note([trial])
        log.info("%s %s%s", trial.label, to.value, f": {reason}" if reason else "")
        self._is_idle = False
        if to.is_terminal:
            self._ended[to] = self._ended.get(to, 0) + 1
            self._trouble = self._trouble or self._flapping.note(trial, self._clock())
        self._on_change(trial)
        return True

    def _pass_on_stops(self) -> None:
        """Stop the jobs of trials that a rule, the user or this agent's shutdown ended."""
        cancelled = self._controller.sweep.state is SweepState.CANCELLED
        kills = self._leaving >= ShutdownLevel.KILL or (cancelled and self._is_cancelled_twice())
        for held in list(self._held.values()):
            is_stopping = held.trial.state is TrialState.STOPPING
            if not is_stopping and (cancelled or self._leaving >= ShutdownLevel.STOP):
                is_stopping = self._order_stop(held, "the sweep was cancelled" if cancelled else "")
            if is_stopping:
                with self._tolerating(place := self._place_of(held)):
                    self._stop(held, place, kills=kills)

    def _stop(self, held: HeldTrial, place: Place, *, kills: bool) -> None:
        if not held.is_submitted and not held.is_stop_sent:
            self._end_unstarted(held)
        elif kills or not held.is_stop_sent:
            place.backend.stop(held.trial.job_name, grace_s=0 if kills else self._options.grace_s)
            held.is_stop_sent = True

    def _is_cancelled_twice(self) -> bool:
        return bool(self._held) and notes.KILLS_AT_ONCE.get(self._store, self._sweep_id)

    def _end_unstarted(self, held: HeldTrial) -> None:
        """End a stopping trial whose job this agent has not seen."""
        name = held.trial.job_name
        if held.may_have_job and name in self._place_of(held).backend.describe([name]):
            held.is_submitted = True  # the job exists; the next tick stops it
            return
        self._end(held, decide(held.trial, JobStatus(name=name, status="Stopped"), self._options.retries))

    def _order_stop(self, held: HeldTrial, reason: str, *, by: str = "") -> bool:
        by = by or ("agent" if self._leaves_for_machine else "person")
        if not reason and by == "agent":
            reason = "the user stopped its agent" if self._leaves_by_order else "its agent received SIGTERM"
        reason = reason or "stopped by Ctrl-C"
        try:
            held.trial = self._store.move(
                self._sweep_id,
                held.trial.number,
                [TrialState.RUNNING],
                TrialState.STOPPING,
                reason=reason,
                asked_by=by,
            )
        except StoreConflict:
            return False  # the next tick reads the trial again
        return True

    def _fill_slots(self) -> bool:
        self._is_idle = False
        self._refusing.clear()
        for held in list(self._held.values()):
            if not held.is_submitted and not held.is_stop_sent:
                self._start(held)
        happened = self._is_contended = False
        while self._may_start():
            trial, proposal = self._claim()
            if trial is None:
                self._is_contended = proposal in (Proposal.ADDED, Proposal.CONTENDED, Proposal.RESERVED)
                if proposal is Proposal.EXHAUSTED and not self._held:
                    self._is_idle = self._conclude()
                break
            happened = True
            self._start(self._held[trial.number])
        if not self._held and (self._trouble or self._is_used_up()):
            self._conclude()  # the last trial of this agent may be the last of the sweep
        return happened

    def _conclude(self) -> bool:
        self._controller.refresh()
        self._read_changes()
        waiting = [trial for trial in self._bound.values() if not self._can_continue(trial)]
        is_over = self._controller.conclude(len(waiting))
        if is_over and waiting and self._controller.sweep.state is SweepState.RUNNING:
            where = ", ".join(sorted({trial.place for trial in waiting}))
            log.warning(
                "sweep %s: %d trials continue only at %s, where their checkpoints are; start an agent there, "
                "or run them at another place with: smsweep retry %s",
                self._sweep_id,
                len(waiting),
                where,
                " ".join(trial.label for trial in waiting[:3]) + (" ..." if len(waiting) > 3 else ""),
            )
        return is_over

    def _read_changes(self) -> None:
        """Find pending trials whose checkpoints are at a place, and active trials of this and other agents."""
        numbers, self._cursor = self._controller.history.since(self._cursor)
        for number in numbers:
            trial = self._controller.history.get(number)
            self._bound.pop(number, None)
            self._elsewhere.pop(number, None)
            if trial is None:
                continue
            if trial.state is TrialState.PENDING and trial.place:
                self._bound[number] = trial
            elif trial.state.is_active and trial.agent_id != self._agent_id:
                self._elsewhere[number] = trial
            elif trial.state.is_active and number not in self._held:  # the answer of its claim was lost
                self._held[number] = HeldTrial(trial, is_taken_over=True, may_have_job=True)
                self._started += 1

    def _may_adopt_later(self) -> bool:
        """Return True if another agent that holds a trial may be lost, so that this agent must take it over.

        An agent that runs renews its leases. So a trial is left to its agent after the first renewal that this
        agent sees, and else is adopted when its lease expires.
        """
        for number, trial in self._elsewhere.items():
            if self._places.of(trial) is None or self._is_alive(trial.agent_id):
                continue
            stored = self._store.get_trial(self._sweep_id, number)
            known = self._leases.setdefault((number, stored.agent_id), stored.lease_expires_at)
            if stored.state.is_active and stored.lease_expires_at == known:
                return True
        return False

    def _can_continue(self, trial: Trial) -> bool:
        return any(place.can_continue(trial) for place in self._places.places)

    def _end_unreachable(self, held: HeldTrial) -> None:
        """End a trial of a lost agent whose job this agent cannot reach."""
        reason = f"its agent was lost, and its job ran at {held.trial.place}, which this agent cannot reach"
        lost = NextState(to=TrialState.CRASHED, reason=reason, retries=held.trial.retries)
        self._started -= self._end(held, retry(held.trial, CRASHED, self._options.retries, lost))

    def _return_to_queue(self, held: HeldTrial, reason: str) -> None:
        """Make a trial without a job pending again."""
        self._waiting.clear(held.trial)
        back = NextState(to=TrialState.PENDING, reason=reason, retries=held.trial.retries)
        self._started -= self._end(held, back)

    def _is_closing(self) -> bool:
        """Return True if no trial may start. Running trials continue to their end."""
        return bool(self._leaving or self._trouble or self._controller.sweep.state is not SweepState.RUNNING)

    def _open_places(self, moving: HeldTrial | None = None) -> list[tuple[Place, int]]:
        """Return the places that can start a trial now, with their free slots.

        A place with free slots that waits for its own rate limit can start a job soon. So new trials wait for it,
        and do not overflow to the next place.

        Args:
            moving: A held trial that leaves its slot.
        """
        held = (
            self._held.values() if moving is None else [each for each in self._held.values() if each is not moving]
        )
        places = []
        for place, n in self._places.with_room(held):
            error = self._refusing.get(place.name)
            if moving is None and isinstance(error, Throttled) and error.is_unsent:
                break
            if error is None and not self._places.is_resting(place):
                places.append((place, n))
        return places

    def _may_start(self) -> bool:
        return (
            bool(self._open_places())
            and not self._leaving
            and not self._trouble
            and not self._is_used_up()
            and self._controller.sweep.state in (SweepState.RUNNING, SweepState.STOPPED, SweepState.CANCELLED)
        )

    def _claim(self) -> tuple[Trial | None, Proposal]:
        """Claim an abandoned or pending trial; if there is none, propose new ones for the free slots first.

        Returns:
            The trial, or None with the reason. None with ADDED means that other agents claimed the new trials.
        """
        counts = self._controller.history.counts
        n_active = counts[TrialState.RUNNING] + counts[TrialState.STOPPING]
        may_be_pending = counts[TrialState.PENDING] and self._controller.affords_more()
        trial = self._claim_known() if may_be_pending or n_active > len(self._held) else None
        if trial is not None:
            return trial, Proposal.ADDED
        by_pool = {place.pool: n for place, n in self._open_places() if self._controller.affords_more(place.name)}
        free = sum(by_pool.values())
        if not free:  # the budget covers no trial at the places that have room
            return None, Proposal.RESERVED if self._controller.affords_more() else self._controller.propose(1)
        if self._options.count is not None:
            free = min(free, self._options.count - self._started)
        if self._options.until is not None:
            return None, Proposal.RESERVED if self._controller.affords_more() else Proposal.EXHAUSTED
        proposal = self._controller.propose(free)
        may_be_pending = proposal in (Proposal.ADDED, Proposal.CONTENDED) and self._controller.affords_more()
        return self._claim_known() if may_be_pending else None, proposal

    def _claim_known(self) -> Trial | None:
        """Claim a trial for the first place that can run it."""
        self._read_changes()
        for place, _ in self._open_places():
            trial = self._claim_at(place)
            if trial is not None:
                return trial
        return None

    def _claim_at(self, place: Place) -> Trial | None:
        if not self._held:
            self._renewed_at = self._clock()
        trial = self._store.claim(
            self._sweep_id,
            self._agent_id,
            place.backend.place,
            LEASE_S,
            place_name=place.name,
            continues=[number for number, trial in self._bound.items() if place.can_continue(trial)],
            adopts=self._places.can_adopt,
            abandoned_only=not self._controller.affords_more(place.name),
        )
        if trial is None:
            return None
        known = self._controller.history.get(trial.number)
        is_known_to_run = known is not None and known.state is not TrialState.PENDING
        is_taken_over = is_known_to_run or not _has_just_started(trial)
        self._controller.note([trial])
        held = self._held[trial.number] = HeldTrial(trial, is_taken_over, may_have_job=True)
        self._started += 1
        if is_taken_over:
            return trial
        if not self._controller.keeps_budget():  # if the store does not answer, `_submit` checks it again
            self._return_to_queue(held, OVER_BUDGET)
            return None
        held.may_have_job = False
        self._note_placement(held, place)
        return trial

    def _note_placement(self, held: HeldTrial, place: Place) -> None:
        """Store why a trial does not run at the first place, for `smsweep why`."""
        if place is self._places.places[0]:
            return
        others = [other for other in self._held.values() if other is not held]
        if reasons := self._places.reasons_before(place, others, lambda other: self._why_not(held.trial, other)):
            document = {"place": place.label, "because": reasons}
            notes.placement(held.trial).put(self._store, self._sweep_id, document)

    def _why_not(self, trial: Trial, place: Place) -> str:
        """Return why a place with a free slot, which does not rest, does not run a trial."""
        if error := self._refusing.get(place.name):
            return f"{place.label} accepted no job: {error}"
        if not self._controller.affords_more(place.name):
            return f"the budget covers no further trial at {place.label}"
        if trial.attempt and not place.can_continue(trial):
            return f"{place.label} cannot read the checkpoints of this trial"
        return f"{place.label} was not possible for this trial"

    def _start(self, held: HeldTrial) -> None:
        """Start the job of a trial at its place, or at the next place that has room."""
        place = self._places.of(held.trial)
        if place is None:
            self._end_unreachable(held)
            return
        while (error := self._submit(held, place)) is not None:
            self._refusing[place.name] = error
            if not self._places.is_resting(place):
                return  # for example, its calls are throttled
            other = self._other_place(held, place)
            if other is None or not self._move(held, other):
                return
            place = other

    def _other_place(self, held: HeldTrial, place: Place) -> Place | None:
        """Return the place to which a refused trial moves; None if it waits."""
        if held.may_have_job or held.trial.state is not TrialState.RUNNING:
            return None
        is_bound = held.trial.attempt > 0 and place.binds(held.trial)
        for other, _ in self._open_places(moving=held):
            if other is place or not self._controller.affords_more(other.name):
                continue
            if not is_bound or other.can_continue(held.trial):
                return other
        return None

    def _move(self, held: HeldTrial, to: Place) -> bool:
        """Store the new place of a trial that has no job, before its job starts there."""
        number = held.trial.number
        try:
            moved = self._store.set_place(self._sweep_id, number, self._agent_id, to.backend.place, to.name)
        except StoreConflict as err:
            log.debug("%s: reading the trial again: %s", held.trial.label, err)
            return False
        held.trial = moved
        self._controller.note([moved])
        held.may_have_job = True  # if the store does not answer, `_submit` checks the budget again
        if not self._controller.keeps_budget():
            self._return_to_queue(held, "waits: the budget does not cover this trial at another place")
            return False
        held.may_have_job = False
        self._note_placement(held, to)
        return True

    def _submit(self, held: HeldTrial, place: Place) -> SmsweepError | None:
        """Start the job of a trial at its place.

        Returns:
            The error if the place accepts no more jobs now. Then the trial waits in its slot.
        """
        trial = held.trial
        if error := self._refusing.get(place.name):
            return error
        try:
            if held.may_have_job and trial.job_name in place.backend.describe([trial.job_name]):
                log.info("%s continues: found its job %s", trial.label, trial.job_name)
            elif trial.state is TrialState.STOPPING:
                self._end_unstarted(held)
                return None
            elif self._is_closing():
                self._return_to_queue(held, "it had no job yet, and no new jobs are started now")
                return None
            elif held.may_have_job and not self._controller.keeps_budget():
                self._return_to_queue(held, OVER_BUDGET)
                return None
            elif reason := self._reuse(trial):
                self._end(held, NextState(to=TrialState.FINISHED, reason=reason, retries=trial.retries))
                return None
            else:
                held.may_have_job = False  # the backend was asked
                self._places.check(place)
                request = place.render(trial)
                self._renew_leases()
                if held.trial.number not in self._held:
                    return None  # this agent was frozen, and the job of its successor can be at another place
                place.backend.submit(request)
                log.info("%s running: job %s", trial.label, trial.job_name)
        except JobRejected as err:
            refused = NextState(to=TrialState.FAILED, reason=str(err), retries=trial.retries)
            failure = NAME if isinstance(err, NameTaken) else ""
            self._end(held, retry(trial, failure, self._options.retries, refused))
            return None
        except SmsweepError as err:
            if not err.retryable or isinstance(err, StoreError):
                raise
            is_refused = isinstance(err, (CapacityError, QuotaExceeded))
            held.may_have_job |= not (err.is_unsent or is_refused)  # else the job may have started
            if not isinstance(err, Throttled):
                self._places.rest(place, err)
            self._waiting.note(trial, err)
            return err
        held.is_submitted = True
        self._waiting.clear(trial)
        self._on_change(trial)
        return None


def _has_just_started(trial: Trial) -> bool:
    """Return True if the claim that returned a trial started its attempt; False if it adopted the trial.

    The agent can have read the trial before other agents claimed it, or not at all.
    """
    lease = timedelta(seconds=LEASE_S)
    return trial.started_at is not None and trial.lease_expires_at == trial.started_at + lease
