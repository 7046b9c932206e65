"""Decides which params come next, which trials end early, and when a sweep is finished. Never calls a backend."""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from smsweep.core.budget import BudgetTracker
from smsweep.core.condition import feasible_assignments, is_feasible
from smsweep.core.confirm import is_repeat, next_repeats
from smsweep.core.job import Confirm
from smsweep.core.objective import Targets
from smsweep.core.repeats import Repeats
from smsweep.core.sweep import Sweep, SweepState
from smsweep.core.trial import History, Params, Trial, TrialState
from smsweep.engine.promotions import make_promotions
from smsweep.errors import ConfigError, StoreConflict
from smsweep.search.base import SearchStrategy, outlook
from smsweep.stopping.base import StoppingRule
from smsweep.store import notes
from smsweep.store.base import Store

log = logging.getLogger(__name__)

MAX_NAMES = 5  # of metrics in an error message
ATTEMPTS = 3  # insertions before the agent pauses, while other agents add their trials


class Proposal(Enum):
    """The outcome of one call of `Controller.propose`. Only EXHAUSTED is final."""

    ADDED = "added"  # pending trials were added; another agent may claim them first
    CONTENDED = "contended"  # other agents added trials at the same moment; try again after a pause
    RESERVED = (
        "reserved"  # running trials reserve the rest of the budget, or the rest of W&B's runs; wait for them
    )
    CLOSED = "closed"  # the sweep accepts no trials in its state (paused, stopped, ...)
    EXHAUSTED = "exhausted"  # the search space, a cap, a target or the budget is used up


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What decides about the trials of a sweep with one revision of its config."""

    strategy: SearchStrategy  # suggests params; it also repeats each assignment
    stopping: StoppingRule | None = None  # selects trials to stop early; None for no early stopping
    trial_cap: int | None = None  # maximum number of trials, in addition to `run_cap`; None for no limit
    budget: BudgetTracker = field(default_factory=BudgetTracker)  # the limits on cost
    parallel: tuple[int, int] | None = None  # revision that sets the slots of the agent, and their number


class Controller:
    """Makes the decisions for one sweep and writes them to the store.

    Several controllers can serve one sweep. If two of them add trials at the same time, one insert succeeds and
    the other controller reads the sweep again.

    Args:
        store: The store that has the sweep.
        sweep: The sweep.
        rules: What decides about the trials with the sweep's config.
        make_rules: Returns the rules for a sweep whose config changed; None if they never change.
        prior: Ended trials of earlier sweeps that inform the strategy.
        repeats: Number of trials of each assignment.
        confirm: Repeats of the best trials when the search is over; None for none.
        searches: False to add only repeats that the user asked for, and no trials of the search.

    Attributes:
        trouble: Why the agent cannot work with the changed config; "" if it can.
    """

    def __init__(
        self,
        store: Store,
        sweep: Sweep,
        rules: Rules,
        *,
        make_rules: Callable[[Sweep], Rules] | None = None,
        prior: Iterable[Trial] = (),
        repeats: int = 1,
        confirm: Confirm | None = None,
        searches: bool = True,
    ) -> None:
        self.sweep = sweep
        self.trouble = ""
        self._rules = rules
        self._make_rules = make_rules
        self.history = History(prior=prior)
        self._store = store
        self._is_over_budget = False  # as of the last check: the budget covers no further trial
        self._revision = 0
        self._constraints = sweep.job.search.outcome_constraints
        self._repeats = Repeats(repeats, sweep.config.metric, sweep.config.metrics, self._constraints)
        self._targets = Targets(sweep.config, lambda trial: is_feasible(trial, self._constraints))
        self._outlook: str | None = None  # the stored outlook; None before the first read
        self._confirm = confirm
        self._searches = searches
        self._repeated: set[int] = set()  # numbers of the trials that repeat others
        self._request: dict[str, int] = {}  # of `smsweep confirm`
        self._promotions = make_promotions(store, sweep, rules.stopping)

    def refresh(self) -> None:
        """Read the state of the sweep, and the trials that changed since the last call."""
        sweep = self._store.get_sweep(self.sweep.id)
        if sweep.config_revision != self.sweep.config_revision:
            self._adopt(sweep)
        if sweep.revision == self._revision:
            self.sweep = sweep
            return
        metric = self.sweep.config.metric
        curve_of = metric.name if metric is not None and self._reads_curves() else None
        trials = self._store.list_trials(self.sweep.id, since=self._revision, curve_of=curve_of)
        self._request = notes.CONFIRM.get(self._store, self.sweep.id)
        self._read(trials)
        self._check_resumed(trials)
        self._revision = max([sweep.revision, *(trial.revision for trial in trials)])
        self.sweep = sweep

    @property
    def parallel(self) -> tuple[int, int] | None:
        """The last revision that sets the number of slots, and that number; None if no revision does."""
        return self._rules.parallel

    def _adopt(self, sweep: Sweep) -> None:
        """Decide with the changed config of a sweep from now on. Then read all trials again, for the new rules."""
        if self._make_rules is not None:
            try:  # it reads the store; if the store does not answer, the next refresh tries again
                self._rules, self.trouble = self._make_rules(sweep), ""
                self._promotions = make_promotions(self._store, sweep, self._rules.stopping)
            except ConfigError as err:
                self.trouble = f"this agent cannot work with revision {sweep.config_revision} of the config: {err}"
        log.info("sweep %s: its config is now revision %s", sweep.id, sweep.config_revision)
        self.sweep = sweep
        self._revision = 0

    def note(self, written: Sequence[Trial]) -> None:
        """Update the history with trials that this process wrote.

        If no other process wrote in between, the next `refresh` does not read them again.

        Args:
            written: Trials as the store returned them, in the order of the writes.
        """
        self._read(written)
        if written[0].revision == self._revision + 1 and not self._reads_curves():
            self._revision = written[-1].revision

    def _read(self, trials: Sequence[Trial]) -> None:
        self.history.update(trials)
        self._rules.budget.update(trials)
        self._repeated.update(trial.number for trial in trials if is_repeat(trial))
        self._repeated.difference_update(trial.number for trial in trials if trial.is_removed)

    def affords_more(self, place_name: str | None = None) -> bool:
        """Return True if the budget covers the worst case of one more trial at a place; None for the cheapest."""
        return self._rules.budget.n_affordable(place_name) > 0

    def keeps_budget(self) -> bool:
        """Return True if the budget covers every active trial, including those that other agents just started."""
        if self._rules.budget.has_limits:
            self.refresh()
        return self._rules.budget.n_affordable() >= 0

    def propose(self, n: int) -> Proposal:
        """Add pending trials.

        Args:
            n: Maximum number of trials to add, greater than 0.

        Returns:
            Whether trials were added, or why not.
        """
        for _ in range(ATTEMPTS):
            if self.history.has_gaps:  # a claimed trial is newer than the last read
                self.refresh()
            if self._promotions is not None:
                self.refresh()  # trials that this process wrote have no curve
            if self._promote(n):
                return Proposal.ADDED
            repeated = self._requested_repeats(n)
            if not repeated:
                params: list[Params] = []
                if (blocked := self._blocked()) is None:
                    params = self._rules.strategy.suggest(self.history, min(n, self._n_allowed()))
                    self._save_outlook(outlook(self._rules.strategy, self.history))
                elif blocked is not Proposal.EXHAUSTED:
                    return blocked
                if params:
                    if self._add(params):
                        return Proposal.ADDED
                    continue
                repeated = self._final_repeats(n)
            if not repeated:
                return Proposal.RESERVED if self._awaits_values() else Proposal.EXHAUSTED
            if self._add_repeats(repeated):
                return Proposal.ADDED
        return Proposal.CONTENDED

    def _promotable(self, n: int) -> list[int]:
        """Return the numbers of at most n paused trials to resume now."""
        if self._promotions is None or not self._can_promote():
            return []
        n = min(n, self._rules.budget.n_affordable() - self._n_set_aside())
        return self._promotions.next_numbers(self.history)[:n] if n > 0 else []

    def _can_promote(self) -> bool:
        """Return True if paused trials of the sweep can resume."""
        if self._promotions is None or not self._promotions.is_active:
            return False
        if not self._searches or not self.sweep.state.takes_trials:
            return False
        return not self._targets.are_reached(self._repeats.follow(self.history))

    def _promote(self, n: int) -> bool:
        """Queue at most n paused trials. Return True if there are any."""
        paused = [self.history.get(number) for number in self._promotable(n)]
        promoted = [trial for trial in paused if trial and self._promotions and self._promotions.resume(trial)]
        if promoted:
            self.refresh()
        return bool(promoted)

    def _check_resumed(self, trials: Sequence[Trial]) -> None:
        """Promote no more trials if a promoted trial started again from its first value."""
        if self._promotions is None:
            return
        for why in self._promotions.restarted(trials):
            if self._can_promote():
                self._promotions.end(why)

    def _requested_repeats(self, n: int) -> list[int]:
        """Return the numbers of at most n trials to repeat now, because the user asked for it."""
        return self._next_repeats(n, self._request.get("top", 0), self._request.get("trials", 0))

    def _final_repeats(self, n: int) -> list[int]:
        """Return the numbers of at most n trials to repeat after the search."""
        return self._next_repeats(n, self._confirm.top, self._confirm.trials) if self._confirm else []

    def _next_repeats(self, n: int, top: int, n_repeats: int) -> list[int]:
        """Return the numbers of trials to repeat. n_repeats: how many repeats the sweep can have."""
        metric, n_left = self.sweep.config.metric, n_repeats - len(self._repeated)
        if metric is None or n_left <= 0 or not self.sweep.state.takes_trials:
            return []
        n = min(n, n_left, self._rules.budget.n_affordable())
        if self._rules.trial_cap is not None:
            n = min(n, self._rules.trial_cap - len(self.history))
        if n <= 0:
            return []
        return next_repeats(feasible_assignments(self.history, self._constraints), metric, top, n, n_left)

    def _awaits_values(self, n_waiting: int = 0) -> bool:
        """Return True if the values of active or pending trials can lead to more repeats or promotions.

        Args:
            n_waiting: Number of pending trials that only agents of other places can run.
        """
        counts = self.history.counts
        if counts[TrialState.RUNNING] + counts[TrialState.STOPPING] and self._can_promote():
            return True  # their values can promote paused trials
        n_repeats = max(self._request.get("trials", 0), self._confirm.trials if self._confirm else 0)
        if n_repeats <= len(self._repeated):
            return False
        if not self._searches:  # the search of other agents can be endless
            repeats = filter(None, map(self.history.get, self._repeated))
            counts = Counter(trial.state for trial in repeats)
        n_open = counts[TrialState.RUNNING] + counts[TrialState.STOPPING]
        return n_open > 0 or counts[TrialState.PENDING] > n_waiting

    def _add_repeats(self, numbers: Sequence[int]) -> bool:
        """Add a pending repeat of each of the trials, as `_add`."""
        n_known = Counter(trial.confirms for trial in self.history if is_repeat(trial))
        params, repeats = [], []
        for number in numbers:
            trial = self.history.get(number)
            assert trial is not None
            n_known[number] += 1
            params.append(trial.params)
            repeats.append((number, n_known[number]))
        return self._add(params, repeats)

    def _add(self, params: Sequence[Params], repeats: Sequence[tuple[int, int]] = ()) -> bool:
        """Add pending trials at the next number; on a conflict, read what changed and return False."""
        try:
            added = self._store.add_trials(
                self.sweep.id,
                self.history.next_number,
                params,
                repeats=repeats,
                config_revision=self.sweep.config_revision,
            )
        except StoreConflict:
            self.refresh()
            return False
        self.note(added)
        return True

    def _save_outlook(self, hint: str) -> None:
        """Store why more trials probably find nothing better, and log it when it changes."""
        if self._outlook is None:
            self._outlook = notes.OUTLOOK.get(self._store, self.sweep.id)
        if hint == self._outlook:
            return
        self._outlook = hint
        notes.OUTLOOK.put(self._store, self.sweep.id, hint)
        if hint:
            log.warning("sweep %s: %s", self.sweep.id, hint)

    def judge(self) -> list[Trial]:
        """Move the running trials that the stopping rule selects to stopping, and return them."""
        if self._rules.stopping is None or not self.history.counts[TrialState.RUNNING]:
            return []
        stopping = []
        for decision in self._rules.stopping.judge(self.history):
            if decision.number in self._repeated:
                continue  # a repeat confirms the final value
            promotions = self._promotions
            if promotions is not None and promotions.is_below_rung(decision, self.history):
                continue  # a promoted trial runs to its next rung
            is_pause = promotions is not None and promotions.pauses(decision)
            try:
                trial = self._store.move(
                    self.sweep.id,
                    decision.number,
                    [TrialState.RUNNING],
                    TrialState.STOPPING,
                    reason=decision.reason + "; paused, until it is promoted" * is_pause,
                    asked_by="pause" if is_pause else "rule",
                )
            except StoreConflict:
                continue  # the trial ended, or another agent's controller was faster
            notes.stop_evidence(trial).put(self._store, self.sweep.id, dict(decision.evidence))
            log.info("%s stopping: %s", trial.label, trial.reason)
            stopping.append(trial)
        return stopping

    def conclude(self, n_waiting: int = 0) -> bool:
        """Return True if an agent without trials of its own can exit, and mark the sweep finished if it is.

        Args:
            n_waiting: Number of pending trials that only agents of other places can run.

        The decision rests on what the store holds now. A sweep is finished when nothing is left to try and no
        trial is pending or active; if anything in the sweep changes at the same moment, nothing is marked.
        """
        self.refresh()
        if not self.is_exhausted(n_waiting):
            return False
        counts = self.history.counts
        if counts[TrialState.RUNNING] or counts[TrialState.STOPPING]:
            return True  # their agents mark the end of the sweep
        if counts[TrialState.PENDING]:
            return self._rules.budget.is_spent() or counts[TrialState.PENDING] <= n_waiting
        if not self._searches and self._can_search(n_waiting):
            return True
        try:
            self.sweep = self._store.set_sweep_state(
                self.sweep.id, [SweepState.RUNNING], SweepState.FINISHED, revision=self._revision
            )
        except StoreConflict:
            return False
        log.info("sweep %s finished", self.sweep.id)
        return True

    def is_exhausted(self, n_waiting: int = 0) -> bool:
        """Return True if `propose` would return EXHAUSTED for what was read last.

        Args:
            n_waiting: Number of pending trials that only agents of other places can run.
        """
        blocked = self._blocked()
        if blocked not in (None, Proposal.EXHAUSTED) or self._requested_repeats(1) or self._promotable(1):
            return False
        if blocked is None and self._rules.strategy.suggest(self.history, 1):
            return False
        return not self._final_repeats(1) and not self._awaits_values(n_waiting)

    def _can_search(self, n_waiting: int) -> bool:
        """Return True if an agent that searches finds more trials to run."""
        self._searches = True
        try:
            return not self.is_exhausted(n_waiting)
        finally:
            self._searches = False

    def missing_objective(self, trial: Trial) -> str:
        """Return why a finished trial cannot be compared; "" if it reported all metrics of the sweep."""
        config, seen = self.sweep.config, sorted({*trial.metrics, *trial.summary})
        metric = next((metric for metric in config.all_metrics if metric.name not in seen), None)
        if metric is None:
            return ""
        close = difflib.get_close_matches(metric.name, seen, n=3)
        names = [*close, *(name for name in seen if name not in close)][:MAX_NAMES]
        reported = f"it reported {', '.join(names)}" if names else "it reported nothing"
        return f"it ended without ever reporting the sweep's metric {metric.name!r}; {reported}"

    def _reads_curves(self) -> bool:
        return self._rules.stopping is not None or self.sweep.config.method == "bayes"

    def _blocked(self) -> Proposal | None:
        """Return why the search can add no trial, whatever the strategy suggests; None if it can."""
        if not self.sweep.state.takes_trials:
            return Proposal.CLOSED
        if not self._searches:
            return Proposal.EXHAUSTED
        if self._targets.are_reached(self._repeats.follow(self.history)):
            self._save_outlook("the target is reached, so no new trials are started")
            return Proposal.EXHAUSTED
        if (room := self._room()) is not None and room <= 0:
            return Proposal.EXHAUSTED
        is_over_budget = self._rules.budget.n_affordable() <= 0
        if is_over_budget and not self._is_over_budget:
            log.warning(
                "sweep %s starts no trial now: its budget of %s does not cover another one",
                self.sweep.id,
                self._rules.budget,
            )
        self._is_over_budget = is_over_budget
        if self._rules.budget.is_spent(self._n_set_aside()):
            return Proposal.EXHAUSTED
        return Proposal.RESERVED if is_over_budget else None

    def _n_set_aside(self) -> int:
        """Return for how many repeats after the search the budget must suffice."""
        return max(self._confirm.trials - len(self._repeated), 0) if self._confirm else 0

    def _room(self) -> int | None:
        """Return how many more trials the caps allow the search; None for any number.

        `run_cap` includes the repeats after the search, but not those that the user asked for later.
        """
        rooms = []
        if self.sweep.config.run_cap is not None:
            n_final = self._confirm.trials if self._confirm else 0
            rooms.append(self.sweep.config.run_cap - n_final - (len(self.history) - len(self._repeated)))
        if self._rules.trial_cap is not None:
            rooms.append(self._rules.trial_cap - self._n_set_aside() - len(self.history))
        return min(rooms, default=None)

    def _n_allowed(self) -> int:
        """Return how many more trials the cap and the budget allow."""
        n_allowed, room = self._rules.budget.n_affordable(), self._room()
        return n_allowed if room is None else min(n_allowed, room)
