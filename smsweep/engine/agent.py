"""Acts: claims trials, submits their jobs, reads what they report, ends them, and writes down how they ended."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from smsweep.backends.base import Backend
from smsweep.core.failure_kind import CRASHED, NAME
from smsweep.core.job import JobStatus, TrainingJobRequest
from smsweep.core.outcome import Ruling, duration_s, retry, rule, usage_after
from smsweep.core.sweep import SweepState
from smsweep.core.trial import Trial, TrialState
from smsweep.engine.agent_state import AgentOptions, Held, Outcome
from smsweep.engine.controller import Controller, Proposal
from smsweep.engine.failure_limit import Flapping
from smsweep.engine.log_ingest import Intake
from smsweep.engine.metric_parser import MetricReader
from smsweep.engine.shutdown import Leaving
from smsweep.engine.wait_reason import Waiting
from smsweep.errors import JobRejected, NameTaken, SmsweepError, StoreConflict
from smsweep.store.base import Store

log = logging.getLogger(__name__)

LEASE_S = 60.0  # how long a trial stays ours without a sign of life
LAST_TRIES_S = 10.0  # for an agent told to go at once whose store or backend is out of reach
SHORTEST_SLEEP_S = 0.05  # a backend that knows when a job ends cuts it short


class Agent:
    """One loop over one sweep. The clock and the sleep come from outside; so does who is told of changes."""

    def __init__(
        self,
        store: Store,
        backend: Backend,
        controller: Controller,
        render: Callable[[Trial], TrainingJobRequest],
        reader: MetricReader,
        *,
        agent_id: str,
        options: AgentOptions,
        flapping: Flapping,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
        on_change: Callable[[Trial], None] = lambda trial: None,
        reuse: Callable[[Trial], str] = lambda trial: "",
        redact: Callable[[str], str] = lambda text: text,
    ) -> None:
        self._store = store
        self._backend = backend
        self._controller = controller
        self._render = render
        self._intake = Intake(store, backend, reader, agent_id, clock, on_change)
        self._waiting = Waiting(store, agent_id, clock)
        self._reuse = reuse  # gives a trial a known result and says whose; "" where there is none
        self._redact = redact  # masks secrets in what jobs say of their end
        self._agent_id = agent_id
        self._options = options
        self._flapping = flapping
        self._clock = clock
        self._sleep = sleep
        self._on_change = on_change
        self._sweep_id = controller.sweep.id
        self._held: dict[int, Held] = {}
        self._started = 0
        self._ended: dict[TrialState, int] = {}
        self._leaving = Leaving.NO
        self._leaves_for_machine = False  # trials go back to the queue instead of being killed
        self._renewed_at = clock()
        self._is_idle = False  # nothing is left to try, as of the last tick
        self._is_contended = False  # other agents were faster in the last tick
        self._rng = random.Random(agent_id)  # noqa: S311 - spreads the pauses of agents, no secret
        self._trouble = ""

    def leave(self, how: Leaving | None = None, *, machine_goes: bool = False) -> Leaving:
        """Ask the agent to go: one step more urgently than before, or as said. Safe in a signal handler.

        machine_goes: end running trials so that another agent takes them up again.
        """
        self._leaving = max(self._leaving, how if how is not None else Leaving(min(self._leaving + 1, 3)))
        self._leaves_for_machine |= machine_goes
        return self._leaving

    def run(self) -> Outcome:
        """Tick until there is nothing left to do here."""
        pause_s, told = SHORTEST_SLEEP_S, ""
        failing_since: datetime | None = None
        while True:
            try:
                happened, told, failing_since = self.tick(), "", None
            except SmsweepError as err:
                failing_since = failing_since or self._clock()
                if not err.retryable or self._must_go(failing_since):
                    raise
                if str(err) != told:  # once, however long it lasts
                    log.error("%s; trying again", err)
                told = str(err)
                happened, pause_s = False, self._options.longest_sleep_s
            if self._is_done():
                return Outcome(ended=dict(self._ended), trouble=self._trouble, asked_by=self._asked_by())
            pause_s = SHORTEST_SLEEP_S if happened else min(pause_s * 1.5, self._options.longest_sleep_s)
            # agents that met at the same moment must not meet again
            self._sleep(pause_s * self._rng.random() if self._is_contended else pause_s)

    def tick(self) -> bool:
        """Look once at everything and act once on it. Returns whether anything changed."""
        self._renew_leases()
        happened = self._observe()
        self._controller.refresh()
        self._take_in_news()
        happened |= self._judge()
        self._pass_on_stops()
        happened |= self._fill_slots()
        return happened

    def _asked_by(self) -> str:
        if self._leaves_for_machine:
            return "machine"
        return "person" if self._leaving else ""

    def _must_go(self, failing_since: datetime) -> bool:
        """Tell whether to leave although trials cannot be settled; the next agent finds them."""
        is_urgent = self._leaves_for_machine or self._leaving is Leaving.KILL
        return is_urgent and (self._clock() - failing_since).total_seconds() > LAST_TRIES_S

    def _is_done(self) -> bool:
        if self._held:
            return False
        if self._leaving or self._is_used_up() or self._trouble:
            return True
        state = self._controller.sweep.state
        return state not in (SweepState.RUNNING, SweepState.PAUSED) or (
            self._is_idle and state is SweepState.RUNNING
        )

    def _is_used_up(self) -> bool:
        return self._options.count is not None and self._started >= self._options.count

    def _renew_leases(self) -> None:
        now = self._clock()
        elapsed_s = (now - self._renewed_at).total_seconds()  # below 0 when our clock was set back
        if not self._held or 0 <= elapsed_s < LEASE_S / 3:
            return
        kept = self._store.renew(self._agent_id, LEASE_S)
        self._renewed_at = now
        for number in [number for number in self._held if (self._sweep_id, number) not in kept]:
            log.warning("%s/%s is no longer ours: another agent took it over", self._sweep_id, number)
            del self._held[number]

    def _take_in_news(self) -> None:
        """Learn what others did to our trials: told them to end, or took them over."""
        for number, held in list(self._held.items()):
            known = self._controller.history.get(number)
            if known is not None and known.revision > held.trial.revision:
                held.trial = known
            if held.trial.agent_id != self._agent_id:
                log.warning("%s is no longer ours: another agent took it over", held.trial.label)
                del self._held[number]

    def _observe(self) -> bool:
        """Read status and logs of all held jobs, and settle those that have ended."""
        names = {held.trial.job_name: held for held in self._held.values() if held.is_submitted}
        statuses = self._backend.describe(names) if names else {}
        happened = False
        for name, held in names.items():
            self._renew_leases()  # reading a long log takes time
            if held.trial.number not in self._held:
                continue
            status = statuses.get(name)
            held.trial, is_complete = self._intake.read(held.trial)
            if status is None:
                held.is_submitted = held.was_told = False  # the backend has forgotten it, or never got it
            elif status.is_terminal and is_complete:
                self._settle(held, status)
                happened = True
        return happened

    def _judge(self) -> bool:
        """End what the rule wants to end, in view of all that was reported up to this tick."""
        stopping = self._controller.judge()
        for trial in stopping:
            if trial.number in self._held:
                self._held[trial.number].trial = trial
        return bool(stopping)

    def _settle(self, held: Held, status: JobStatus) -> None:
        """Write down how a trial ended, then let the backend forget its job."""
        if status.results is not None:
            held.trial = self._intake.keep(held.trial, status.results.final_metrics)
        if self._leaves_for_machine and not held.trial.asked_by and self._order_stop(held, ""):
            status = replace(status, status="Stopped")  # it may have ended for the same reason
        current = held.trial
        ruling = rule(current, status, self._options.retries)
        if ruling.to is TrialState.FINISHED and (missing := self._controller.missing_objective(current)):
            ruling = Ruling(to=TrialState.FAILED, reason=missing, retries=current.retries)
        usage = usage_after(current, status, self._options.price)
        lasted_s = duration_s(current, status, held.watched_s)
        if self._end(held, ruling, exit_code=status.exit_code, usage=usage, lasted_s=lasted_s):
            self._backend.forget(status.name)

    def _end(self, held: Held, ruling: Ruling, **known: Any) -> bool:
        """Write down a trial's end; False when somebody changed it meanwhile, to be looked at again.

        known: other arguments of Store.move, such as the exit code.
        """
        number, to, reason = held.trial.number, ruling.to, self._redact(ruling.reason)
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
            log.debug("%s: looking again: %s", held.trial.label, err)
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
        """Tell jobs to end whose trials were told to, by a rule, a person, or our own leaving."""
        cancelled = self._controller.sweep.state is SweepState.CANCELLED
        for held in list(self._held.values()):
            is_stopping = held.trial.state is TrialState.STOPPING
            if not is_stopping and (cancelled or self._leaving >= Leaving.STOP):
                is_stopping = self._order_stop(held, "the sweep was cancelled" if cancelled else "")
            kills = cancelled or self._leaving >= Leaving.KILL
            if is_stopping and not held.is_submitted and not held.was_told:
                self._end_unstarted(held)
            elif is_stopping and (kills or not held.was_told):
                self._backend.stop(held.trial.job_name, grace_s=0 if kills else self._options.grace_s)
                held.was_told = True

    def _end_unstarted(self, held: Held) -> None:
        """End a trial that was told to end before we saw its job start."""
        name = held.trial.job_name
        if held.may_have_job and name in self._backend.describe([name]):
            held.is_submitted = True  # there is one after all: it is told at the next tick
            return
        self._end(held, rule(held.trial, JobStatus(name=name, status="Stopped"), self._options.retries))

    def _order_stop(self, held: Held, reason: str) -> bool:
        by = "agent" if self._leaves_for_machine else "person"
        reason = reason or ("its agent had to leave" if by == "agent" else "stopped by Ctrl-C")
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
            return False  # read again at the next tick
        return True

    def _fill_slots(self) -> bool:
        self._is_idle = False
        takes_more = True  # the backend, as far as we know
        for held in list(self._held.values()):
            if takes_more and not held.is_submitted and not held.was_told:
                takes_more = self._submit(held)
        happened = self._is_contended = False
        while takes_more and self._may_start():
            trial, proposal = self._claim()
            if trial is None:
                self._is_contended = proposal in (Proposal.ADDED, Proposal.CONTENDED, Proposal.RESERVED)
                if proposal is Proposal.EXHAUSTED and not self._held:
                    self._is_idle = self._controller.conclude()
                break
            happened = True
            takes_more = self._submit(self._held[trial.number])
        if not self._held and (self._trouble or self._is_used_up()):
            self._controller.conclude()  # the trial that made this agent leave was perhaps the sweep's last
        return happened

    def _give_back(self, held: Held) -> None:
        """End a trial whose agent is gone and whose job runs, if at all, where we cannot see it."""
        reason = f"its agent was lost, and its job ran at {held.trial.place}, out of sight from here"
        lost = Ruling(to=TrialState.CRASHED, reason=reason, retries=held.trial.retries)
        self._started -= self._end(held, retry(held.trial, CRASHED, self._options.retries, lost))

    def _put_back(self, held: Held, reason: str) -> None:
        """Leave a trial that has no job to whoever starts anything next."""
        self._waiting.clear(held.trial)
        back = Ruling(to=TrialState.PENDING, reason=reason, retries=held.trial.retries)
        self._started -= self._end(held, back)

    def _is_closing(self) -> bool:
        """Tell whether running trials may end, but none may begin."""
        return bool(self._leaving or self._trouble or self._controller.sweep.state is not SweepState.RUNNING)

    def _may_start(self) -> bool:
        return (
            len(self._held) < self._options.parallel
            and not self._leaving
            and not self._trouble
            and not self._is_used_up()
            and self._controller.sweep.state in (SweepState.RUNNING, SweepState.STOPPED, SweepState.CANCELLED)
        )

    def _claim(self) -> tuple[Trial | None, Proposal]:
        """Claim an abandoned or pending trial; if there is none, propose new ones for the free slots first.

        Returns:
            The trial, or None with the reason. With None, ADDED means that other agents claimed what was added.
        """
        counts = self._controller.history.counts
        n_active = counts[TrialState.RUNNING] + counts[TrialState.STOPPING]
        may_be_pending = counts[TrialState.PENDING] and self._controller.affords_more()
        trial = self._claim_known() if may_be_pending or n_active > len(self._held) else None
        if trial is not None:
            return trial, Proposal.ADDED
        free = self._options.parallel - len(self._held)
        if self._options.count is not None:
            free = min(free, self._options.count - self._started)
        proposal = self._controller.propose(free)
        may_be_pending = proposal in (Proposal.ADDED, Proposal.CONTENDED) and self._controller.affords_more()
        return self._claim_known() if may_be_pending else None, proposal

    def _claim_known(self) -> Trial | None:
        place, is_spent = self._backend.place, not self._controller.affords_more()
        trial = self._store.claim(self._sweep_id, self._agent_id, place, LEASE_S, abandoned_only=is_spent)
        if trial is None:
            return None
        known = self._controller.history.get(trial.number)
        is_taken_over = known is None or known.state is not TrialState.PENDING
        self._controller.note([trial])
        held = self._held[trial.number] = Held(trial, is_taken_over, may_have_job=is_taken_over)
        self._started += 1
        if not is_taken_over and not self._controller.keeps_budget():
            reason = "waits: with what other agents started at the same time it would go over the budget"
            self._put_back(held, reason)
            return None
        return trial

    def _submit(self, held: Held) -> bool:
        """Start the trial's job; False when the backend takes no more now, and it waits."""
        trial = held.trial
        if trial.place != self._backend.place:
            self._give_back(held)
            return True
        try:
            if held.may_have_job and trial.job_name in self._backend.describe([trial.job_name]):
                log.info("%s goes on: found its job %s", trial.label, trial.job_name)
            elif trial.state is TrialState.STOPPING:
                self._end_unstarted(held)
                return True
            elif self._is_closing():
                self._put_back(held, "it had no job yet, and nothing new is started now")
                return True
            elif reason := self._reuse(trial):
                self._end(held, Ruling(to=TrialState.FINISHED, reason=reason, retries=trial.retries))
                return True
            else:
                held.may_have_job = False  # it was looked for
                self._backend.submit(self._render(trial))
                log.info("%s running: job %s", trial.label, trial.job_name)
        except JobRejected as err:
            refused = Ruling(to=TrialState.FAILED, reason=str(err), retries=trial.retries)
            failure = NAME if isinstance(err, NameTaken) else ""
            self._end(held, retry(trial, failure, self._options.retries, refused))
            return True
        except SmsweepError as err:
            if not err.retryable:
                raise
            held.may_have_job |= not err.is_unsent  # an answer may have got lost
            self._waiting.note(trial, err)
            return False
        held.is_submitted = True
        self._waiting.clear(trial)
        self._on_change(trial)
        return True
