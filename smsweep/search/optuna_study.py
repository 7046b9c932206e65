"""A search in the Optuna study of the user's program, `scheduler.source`, as W&B's scheduler runs it.

W&B keeps one study while its scheduler runs. smsweep rebuilds that study from the trials: it asks and tells in the
order of their times. So samplers and pruners with a state continue after a restart.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from smsweep.core.objective import outcome
from smsweep.core.repeats import Repeats
from smsweep.core.sweep import Metric, SweepConfig
from smsweep.core.trial import History, Params, StopDecision, Trial, TrialState, flat_params, is_number
from smsweep.errors import SpaceError
from smsweep.search.base import SearchStrategy
from smsweep.search.optuna_program import Program
from smsweep.search.optuna_search import (
    SAMPLERS,
    OptunaSearch,
    decode,
    encode,
    import_optuna,
    quiet,
    unit_distribution,
)
from smsweep.space.distribution import MISSING, Distribution
from smsweep.space.space import SearchSpace

# Part of the message of a sampler that ends the study, such as GridSampler. Optuna has no other sign outside of
# Study.optimize.
STOPPED = "Study.stop` is supposed to be invoked inside"


def make_optuna_search(
    space: SearchSpace, metrics: Sequence[Metric], scheduler: Mapping[str, Any], seed: int = 0
) -> SearchStrategy:
    """Return the search of a section `scheduler` with engine optuna.

    Args:
        space: The parameters.
        metrics: One metric or more.
        scheduler: The section `scheduler` of sweep.yaml. With `source`, also the text of the source as `code`.
        seed: The seed of all draws.

    Raises:
        UsageError: Optuna is not installed.
        SpaceError: There is no metric, the sampler is unknown, or the program is broken.
    """
    if not metrics:
        raise SpaceError("optuna needs to know what to improve: add metric with a name and a goal, or metrics")
    kind = StudySearch if "source" in scheduler else OptunaSearch
    return kind(space, metrics, scheduler, seed)


class StudyReplica:
    """The study that W&B's scheduler would have after the trials of a sweep.

    A trial whose params the study did not propose was chosen by a user, or proposed by an agent that knew other
    results. It is enqueued, as W&B's scheduler does with runs that it finds after a restart.

    Args:
        space: The parameters.
        metrics: One metric or more.
        scheduler: The section `scheduler` of sweep.yaml, as `Program` needs it.
        seed: Seeds the samplers that have no seed.

    Raises:
        UsageError: Optuna is not installed.
        SpaceError: The program is broken, or does not fit the metrics.
    """

    def __init__(
        self, space: SearchSpace, metrics: Sequence[Metric], scheduler: Mapping[str, Any], seed: int
    ) -> None:
        self.optuna = import_optuna()
        self._space = space
        self._metrics = metrics
        self._sampler = str(scheduler.get("optimizer") or "TPESampler")
        self._program = Program(scheduler)
        self._seed = seed
        self._distributions: dict[str, Any] = {}  # of `parameters`; empty if the program defines the space
        self._units: dict[str, Distribution] = {}  # params whose Optuna value is an index or a probability
        if not self._program.has_space:
            self._declare(self._program.info.config.get("parameters", {}))
        self._reset()

    def _reset(self) -> None:
        with quiet():
            self.study, self._terminator = self._make_study()
        goals = [metric.goal.value for metric in self._metrics]
        directions = [direction.name.lower() for direction in self.study.directions]
        if directions != goals:
            raise SpaceError(
                f"scheduler.optimizer: the study's directions are {', '.join(directions)}, and the goals of the "
                f"sweep are {', '.join(goals)}; pass directions={goals} to optuna.create_study"
            )
        names = list(getattr(self.study, "metric_names", None) or ())
        wanted = [metric.name for metric in self._metrics]
        if names and names != wanted:
            raise SpaceError(
                f"scheduler.optimizer: the study's metric names are {', '.join(names)}, and the sweep has "
                f"{', '.join(wanted)}; pass {wanted} to set_metric_names, or do not call it"
            )
        self._live: dict[int, Any] = {}  # number -> Optuna trial that has not ended
        self._places: dict[int, int] = {}  # number -> number of the Optuna trial
        self._steps: dict[int, int] = {}  # number of the Optuna trial -> values that were reported
        self._spare: tuple[Any, Params] | None = None  # asked, and not a trial yet
        self._n_asked: int = 0  # trials of the history that are in the study
        self._has_prior: bool = False
        self._is_stopped: bool = False  # a sampler or the terminator ended the sweep

    def follow(self, history: History) -> None:
        """Ask and tell what the trials of the history add to the study."""
        with quiet():
            if history.next_number < self._n_asked:  # another history
                self._reset()
            if not self._n_asked and not self._has_prior:
                self._has_prior = True
                for trial in history.prior:
                    self._tell(self._enqueued(trial.params), trial)
            for number in range(self._n_asked, history.next_number):
                if (added := history.get(number)) is not None:  # None for a removed trial
                    self._tell_ended(history, added.created_at)
                    self._adopt(added)
                self._n_asked = number + 1
            self._tell_ended(history, None)

    def propose(self, n: int) -> list[Params]:
        """Return the params of at most n new trials, and leave the study unchanged."""
        with quiet():
            if self._is_over():
                return []
            found = [self._spare[1]] if self._spare is not None else []
            study = copy.deepcopy(self.study) if len(found) < n else self.study
            while len(found) < n and not self._is_exhausted(study):
                found.append(self._ask(study)[1])
            return found[:n]

    def running(self, history: History) -> Iterator[tuple[Trial, Any]]:
        """Yield each running trial with its Optuna trial, which has all values reported so far."""
        for number, live in sorted(self._live.items()):
            trial = history.get(number)
            if trial is not None and trial.state is TrialState.RUNNING:
                self._report(live, trial)
                yield trial, live

    @property
    def has_one_metric(self) -> bool:
        return len(self._metrics) == 1

    def _make_study(self) -> tuple[Any, Callable[[Any], object] | None]:
        if self._program.has_optimizer:
            return self._program.study(self.optuna, self._seed)
        options = SAMPLERS[self._sampler]
        if self._program.has_space and "multivariate" in options:
            options = options | {"group": True}  # params that occur together are drawn together
        sampler = getattr(self.optuna.samplers, self._sampler)(seed=self._seed, **options)
        directions = [metric.goal.value for metric in self._metrics]
        pruner = self.optuna.pruners.NopPruner()
        return self.optuna.create_study(sampler=sampler, directions=directions, pruner=pruner), None

    def _ask(self, study: Any) -> tuple[Any, Params]:
        if self._program.has_space:
            live = study.ask()
            return live, self._program.ask(live)
        live = study.ask(self._distributions)
        return live, self._decoded(live.params)

    def frozen(self, number: int | None) -> Any:
        """Return the state of the Optuna trial of a trial; None if the study has none."""
        place = self._places.get(number) if number is not None else None
        return self.study.trials[place] if place is not None else None

    def _adopt(self, trial: Trial) -> None:
        live = (
            self._repeated(known) if (known := self.frozen(trial.confirms)) is not None else self._matched(trial)
        )
        if live is not None:
            self._live[trial.number] = live
            self._places[trial.number] = live.number

    def _repeated(self, known: Any) -> Any:
        """Return an Optuna trial with the params of another one."""
        self.study.enqueue_trial(known.params)
        return self.study.ask(known.distributions)

    def _matched(self, trial: Trial) -> Any:
        if self._spare is None and not self._is_exhausted(self.study):
            self._spare = self._ask(self.study)
        if self._spare is not None and _is_same(self._spare[1], trial.params):
            live, self._spare = self._spare[0], None
            return live
        return self._enqueued(trial.params)

    def _enqueued(self, params: Params) -> Any:
        """Return an Optuna trial with the given params; None if they do not fit this space."""
        before = len(self.study.trials)
        try:
            self.study.enqueue_trial(self._encoded(params))
            live, made = self._ask(self.study)
            if _is_same(made, params):
                return live
            raise SpaceError("Optuna drew other params")  # `search_space` returned names that it did not suggest
        except (SpaceError, ValueError, TypeError, KeyError):
            for left in self.study.trials[before:]:
                if not left.state.is_finished():
                    self.study.tell(left.number, state=self.optuna.trial.TrialState.FAIL)
            return None

    def _tell_ended(self, history: History, before: datetime | None) -> None:
        """Tell the results of the trials that had ended at a time; None for now."""
        ended = [
            trial
            for number in self._live
            if (trial := history.get(number)) is not None
            and trial.state.is_terminal
            and (before is None or trial.ended_at is None or trial.ended_at <= before)
        ]
        for trial in sorted(ended, key=lambda each: (each.ended_at is not None, each.ended_at, each.number)):
            self._tell(self._live.pop(trial.number), trial)

    def _tell(self, live: Any, trial: Trial) -> None:
        if live is None:
            return
        states = self.optuna.trial.TrialState
        lower_is_better = outcome(trial, self._metrics)
        values = [metric.goal.sign * x for metric, x in zip(self._metrics, lower_is_better or (), strict=False)]
        state = states.FAIL
        if trial.state is TrialState.FINISHED and values:
            state = states.COMPLETE
        elif trial.state is TrialState.STOPPED:
            state = states.PRUNED
        if self.has_one_metric:
            self._report(live, trial)
            live.should_prune()  # for the last value
        try:
            self.study.tell(live, values if state == states.COMPLETE else None, state=state)
        except RuntimeError as err:
            if STOPPED not in str(err):
                raise
            self._is_stopped = True

    def _report(self, live: Any, trial: Trial) -> None:
        """Report the new values of a trial by their position, which is W&B's step if each step logs the metric.

        Some pruners note at each value how far the trial came. For values that an earlier agent judged, they are
        asked again.
        """
        known = self._steps.get(live.number, 0)
        is_late = not known and len(trial.curve) > 1
        for step, value in enumerate(trial.curve[known:], start=known):
            live.report(value, step)
            if is_late and step + 1 < len(trial.curve):
                live.should_prune()
        self._steps[live.number] = max(known, len(trial.curve))

    def _is_over(self) -> bool:
        if self._terminator is not None and not self._is_stopped:
            self._is_stopped = self._program.ends(self._terminator, self.study)
        return self._is_stopped or (self._spare is None and self._is_exhausted(self.study))

    def _is_exhausted(self, study: Any) -> bool:
        is_exhausted = getattr(study.sampler, "is_exhausted", None)  # of GridSampler
        return self._is_stopped or bool(is_exhausted is not None and is_exhausted(study))

    def _declare(self, document: Mapping[str, Any]) -> None:
        """Set the distributions of `parameters`: those of W&B's scheduler, and else the unit interval.

        The samplers draw the params in the order of the document.
        """
        order = {name: position for position, name in enumerate(document)}
        for path, leaf in sorted(self._space.leaves, key=lambda each: order.get(each[0][0], len(order))):
            name, spec = ".".join(path), document.get(path[0]) if len(path) == 1 else None
            own = _wandb_distribution(self.optuna.distributions, spec) if isinstance(spec, dict) else None
            if own is None:
                self._units[name] = leaf
                own = unit_distribution(self.optuna, leaf)
            self._distributions[name] = own

    def _decoded(self, asked: Mapping[str, Any]) -> Params:
        values = []
        for path, _ in self._space.leaves:
            name = ".".join(path)
            leaf = self._units.get(name)
            values.append(asked[name] if leaf is None else decode(leaf, asked[name]))
        return self._space.nest(values)

    def _encoded(self, params: Params) -> dict[str, Any]:
        if self._program.has_space:
            return flat_params(params)
        encoded = {}
        for (path, _), value in zip(self._space.leaves, self._space.flatten(params), strict=True):
            name = ".".join(path)
            leaf = self._units.get(name)
            encoded[name] = value if leaf is None else encode(leaf, value)
            if value is MISSING or (encoded[name] is None and leaf is not None):
                raise SpaceError(f"{name}: the value is not in the space")
        return encoded


class RepeatsReplica(StudyReplica):
    """A study in which each repeat of an assignment is a trial, so that the pruner can compare it.

    The study of the search has one trial per assignment, with the mean of its repeats.

    Args:
        repeats: Combines the repeats for the search.
        *arguments: The arguments of `StudyReplica`.
    """

    def __init__(self, repeats: Repeats, *arguments: Any) -> None:
        self._repeats = repeats
        self._search = StudyReplica(*arguments)
        super().__init__(*arguments)

    def _reset(self) -> None:
        super()._reset()
        self.study.sampler = self.optuna.samplers.RandomSampler(seed=self._seed)  # has nothing to propose

    def follow(self, history: History) -> None:
        self._search.follow(self._repeats.follow(history))
        super().follow(history)

    def _matched(self, trial: Trial) -> Any:
        known = self._search.frozen(trial.number // self._repeats.n)
        return self._repeated(known) if known is not None else None


class StudySearch:
    """Proposes what the study of the user's program asks for. The arguments are those of `StudyReplica`."""

    def __init__(
        self, space: SearchSpace, metrics: Sequence[Metric], scheduler: Mapping[str, Any], seed: int = 0
    ) -> None:
        self._replica = StudyReplica(space, metrics, scheduler, seed)

    def suggest(self, history: History, n: int) -> list[Params]:
        self._replica.follow(history)
        return self._replica.propose(n)


class StudyPruner:
    """Stops the trials that the pruner of the user's study prunes. A stopping rule."""

    def __init__(self, replica: StudyReplica) -> None:
        self._replica = replica
        self.name = type(self._replica.study.pruner).__name__

    @property
    def prunes(self) -> bool:
        """False if the study never prunes. Optuna's pruners cannot compare trials by several metrics."""
        return self.name != "NopPruner" and self._replica.has_one_metric

    def judge(self, history: History) -> list[StopDecision]:
        replica, decisions = self._replica, []
        replica.follow(history)
        with quiet():
            for trial, live in replica.running(history):
                if trial.curve and live.should_prune():
                    facts = {"rule": self.name, "step": len(trial.curve) - 1, "value": trial.curve[-1]}
                    reason = (
                        f"{self.name} of scheduler.optimizer: value {trial.curve[-1]:g} at step {facts['step']}"
                    )
                    decisions.append(StopDecision(number=trial.number, reason=reason, evidence=facts))
        return decisions


def study_pruner(config: SweepConfig, seed: int, repeats: int = 1) -> StudyPruner | None:
    """Return the rule of the pruner in the study of `scheduler.optimizer`; None if there is none.

    Args:
        config: The sweep, with the text of its search program.
        seed: The seed of the search.
        repeats: Number of trials of each assignment. The pruner compares them one by one.
    """
    scheduler = config.scheduler or {}
    if scheduler.get("engine") != "optuna" or "code" not in scheduler or "optimizer" not in scheduler:
        return None
    arguments = (config.space, config.all_metrics, scheduler, seed)
    groups = Repeats(repeats, config.metric, config.metrics)
    pruner = StudyPruner(StudyReplica(*arguments) if repeats == 1 else RepeatsReplica(groups, *arguments))
    return pruner if pruner.prunes else None


def _wandb_distribution(distributions: Any, spec: Mapping[str, Any]) -> Any:
    """Return the distribution that W&B's scheduler gives a parameter; None if W&B refuses it."""
    low, high, q, kind = spec.get("min"), spec.get("max"), spec.get("q", 1), spec.get("distribution")
    if "value" in spec:
        return distributions.CategoricalDistribution([spec["value"]])
    if "values" in spec:
        is_plain = kind in (None, "categorical") and "probabilities" not in spec
        return distributions.CategoricalDistribution(list(spec["values"])) if is_plain else None
    if not is_number(low) or not is_number(high):
        return None
    is_whole = isinstance(low, int) and isinstance(high, int)
    kind = kind or ("int_uniform" if is_whole else "uniform")
    if kind == "int_uniform":
        return distributions.IntDistribution(low, high)
    if kind == "uniform":
        return distributions.FloatDistribution(low, high)
    if kind == "log_uniform_values":
        return distributions.FloatDistribution(low, high, log=True)
    if kind == "q_uniform":
        is_int = is_whole and isinstance(q, int)
        return (distributions.IntDistribution if is_int else distributions.FloatDistribution)(low, high, step=q)
    if kind == "q_log_uniform_values":
        if q != 1 or low < 1:
            return distributions.FloatDistribution(low, high, log=True)
        return distributions.IntDistribution(low, high, log=True, step=1)
    return None


def _is_same(proposed: Params, stored: Params) -> bool:
    """Return True if stored params are these. The store keeps JSON."""
    return json.dumps(proposed, sort_keys=True, default=str) == json.dumps(stored, sort_keys=True, default=str)
