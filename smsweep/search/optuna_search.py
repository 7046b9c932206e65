"""Optuna's samplers as a search method: `scheduler: {engine: optuna}`.

The user's program, `scheduler.source`, can define an Optuna space or a sampler.
"""

from __future__ import annotations

import inspect
import random
import sys
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from smsweep.core.objective import objective, outcome
from smsweep.core.sweep import Metric
from smsweep.core.trial import History, Params, Trial, TrialState, is_number
from smsweep.errors import SpaceError, UsageError
from smsweep.search.coverage import Coverage, coverage_of
from smsweep.space.choices import Categorical, CategoricalWithProbabilities
from smsweep.space.distribution import MISSING, Distribution, identity
from smsweep.space.space import SearchSpace

SAMPLER = "TPESampler"  # unless scheduler.optimizer names another
OPTIONS: dict[str, dict[str, Any]] = {  # of samplers that need only the history and no other package
    "TPESampler": {"constant_liar": True, "multivariate": True},  # constant_liar: running trials count as bad
    "RandomSampler": {},
}
DRAWS = 8  # attempts to get a new assignment from the sampler before one is drawn at random
# These samplers keep state in a study, and an agent that restarts does not have that study.
STATEFUL = ("CmaEsSampler", "GridSampler", "NSGAIIISampler", "NSGAIISampler", "QMCSampler")


class Program:
    """The functions of the source that `search_space` and `optimizer` name. The key `code` has the source's text.

    `search_space` receives an Optuna trial and asks it for each param. The params can depend on earlier params.
    `optimizer` receives a seed, or nothing. It returns a sampler, or a study with a sampler.

    Args:
        scheduler: The section `scheduler` of sweep.yaml, with the text of the source as `code`.

    Raises:
        SpaceError: The user has not allowed the source to run, or the source raised an exception.
    """

    def __init__(self, scheduler: Mapping[str, Any]) -> None:
        self._file = str(scheduler["source"])
        if "code" not in scheduler:
            problem = f"scheduler.source: the text of {self._file} is not available"
            raise SpaceError(f"{problem}; create the sweep again")
        module = ModuleType(f"{__name__}:{self._file}")
        module.__file__ = self._file
        sys.modules[module.__name__] = module  # dataclasses need it there
        try:
            exec(compile(scheduler["code"], self._file, "exec"), module.__dict__)  # noqa: S102 - the user allowed it # nosec B102
        except (Exception, SystemExit) as err:
            raise self._broken("source", err) from err
        self._module = module
        space = scheduler.get("search_space")
        self._space = self._function("search_space", space) if space is not None else None

    @property
    def has_space(self) -> bool:
        return self._space is not None

    def ask(self, trial: Any) -> None:
        """Call `search_space` with an Optuna trial. Raises SpaceError."""
        if self._space is not None:
            try:
                self._space(trial)
            except (Exception, SystemExit) as err:
                raise self._broken("search_space", err) from err

    def distributions(self, optuna: Any, trial: Trial) -> dict[str, Any] | None:
        """Return the distributions of a trial's params by name; None if the trial does not fit this space."""
        known = optuna.trial.FixedTrial(dict(trial.params), number=trial.number)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about values out of range, which the next statement refuses
                self.ask(known)
            optuna.trial.create_trial(value=0.0, params=known.params, distributions=known.distributions)
        except (SpaceError, ValueError):
            return None  # a param is missing, or its value is not in the space
        distributions: dict[str, Any] = known.distributions
        return distributions

    def sampler(self, name: str, optuna: Any, seed: int) -> Any:
        """Return the sampler that a function of the source creates.

        A function without a seed argument returns a sampler with random draws.

        Args:
            name: The name of the function.
            optuna: The module optuna.
            seed: The seed of the sampler.

        Raises:
            SpaceError: The function failed, or its result is not a sampler that smsweep can use.
        """
        optimizer = self._function("optimizer", name)
        try:
            has_seed = bool(inspect.signature(optimizer).parameters)
            made = optimizer(seed) if has_seed else optimizer()
        except (Exception, SystemExit) as err:
            raise self._broken("optimizer", err) from err
        sampler = getattr(made, "sampler", made)
        if not isinstance(sampler, optuna.samplers.BaseSampler):
            raise SpaceError(f"scheduler.optimizer: expected a sampler or a study from {self._file}, got {made!r}")
        if {kind.__name__ for kind in type(sampler).__mro__} & set(STATEFUL):
            raise SpaceError(
                f"scheduler.optimizer: {type(sampler).__name__} keeps its state in a study, but smsweep "
                "creates a new study for each trial; use TPESampler, GPSampler or another that learns from trials"
            )
        if not has_seed:
            sampler.reseed_rng()
        return sampler

    def _function(self, key: str, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] | None = getattr(self._module, name, None)
        if not callable(function):
            raise SpaceError(f"scheduler.{key}: {self._file} has no function {name!r}")
        return function

    def _broken(self, key: str, err: BaseException) -> SpaceError:
        return SpaceError(f"scheduler.{key}: {self._file} raised {type(err).__name__}: {err}")


class OptunaSearch:
    """Asks an Optuna sampler for each trial, in a study that is created from the history.

    Optuna keeps no state: the sampler of each trial has the seed (seed, number) and receives all trials, so that
    any agent gets the same params. Optuna gets a number as its probability in its distribution, and a listed value
    as its index. Finished trials have their objective, or with several metrics the last value of each. Stopped
    trials are pruned, and failed trials failed, in Optuna's terms. A program of the user can define the space or
    the sampler.

    Args:
        space: The parameters.
        metrics: One metric or more.
        scheduler: The section `scheduler` of sweep.yaml.
        seed: The seed of all draws.

    Raises:
        UsageError: Optuna is not installed.
        SpaceError: There is no metric, or the sampler is unknown.
    """

    def __init__(
        self, space: SearchSpace, metrics: Sequence[Metric], scheduler: Mapping[str, Any], seed: int = 0
    ) -> None:
        self._metrics = metrics
        if not self._metrics:
            raise SpaceError("optuna needs to know what to improve: add metric with a name and a goal, or metrics")
        self._optuna = _import_optuna()
        self._sampler = scheduler.get("optimizer", SAMPLER)
        self._program = Program(scheduler) if "source" in scheduler else None
        if self._sampler not in OPTIONS:
            if self._program is None:
                known = ", ".join(OPTIONS)
                raise SpaceError(f"scheduler.optimizer: no sampler {self._sampler!r}; there are {known}")
            self._make_sampler(0)  # raises if the function returns no sampler
        self._space = space
        self._seed = seed
        self._distributions = {
            ".".join(path): self._distribution(leaf) for path, leaf in self._space.leaves if leaf.size != 1
        }
        self._coverage = coverage_of(space)
        if self._program is not None and self._program.has_space:
            if self._distributions:
                raise SpaceError(
                    "scheduler.search_space: parameters define the space too; keep only constants there"
                )
            self._coverage = Coverage(None, identity)  # the number of assignments is unknown

    def suggest(self, history: History, n: int) -> list[Params]:
        if self._coverage is not None:
            self._coverage.follow(history)
        known = [seen for trial in (*history.prior, *history) if (seen := self._frozen(trial)) is not None]
        suggested: list[Params] = []
        held: list[Hashable] = []
        for number in range(history.next_number, history.next_number + n):
            params = self._first_free(known, number)
            if params is None:
                break
            suggested.append(params)
            running = self._frozen(Trial(number=number, params=params))
            known += [running] if running is not None else []
            if self._coverage is not None:
                held.append(self._coverage.cell_of(params))
                self._coverage.hold(held[-1:])
        if self._coverage is not None:
            self._coverage.release(held)  # the caller decides which of them become trials
        return suggested

    def _first_free(self, known: Sequence[Any], number: int) -> Params | None:
        """Return params from the sampler that no trial holds; None if the space is used up."""
        if self._coverage is None:
            return next(self._samples(known, number))
        if self._coverage.is_used_up:
            return None
        for _, params in zip(range(DRAWS), self._samples(known, number), strict=False):
            if self._coverage.cell_of(params) not in self._coverage:
                return params
        if self._coverage.size is None:
            return params
        rng = random.Random(f"{self._seed}/{number}")  # noqa: S311 - reproducible, not a secret
        return self._space.assignment(self._coverage.free(rng.randrange(self._coverage.n_free)))

    def _samples(self, known: Sequence[Any], number: int) -> Iterator[Params]:
        """Yield params from the sampler, in a study of the known trials, without end."""
        seed = random.Random(f"{self._seed}/{number}").getrandbits(32)  # noqa: S311 - as above
        directions = [metric.goal.value for metric in self._metrics]
        study = self._optuna.create_study(sampler=self._make_sampler(seed), directions=directions)
        study.add_trials(known)
        while True:
            trial = study.ask(self._distributions)
            if self._program is not None:
                self._program.ask(trial)
            yield self._decoded(trial.params)

    def _make_sampler(self, seed: int) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about experimental options
            if self._program is not None and self._sampler not in OPTIONS:
                return self._program.sampler(self._sampler, self._optuna, seed)
            options = OPTIONS[self._sampler]
            if self._program is not None and self._program.has_space and "multivariate" in options:
                options = options | {"group": True}  # params that occur together are drawn together
            return getattr(self._optuna.samplers, self._sampler)(seed=seed, **options)

    def _frozen(self, trial: Trial) -> Any:
        """Return an Optuna trial; None if the params do not fit this space."""
        encoded = {}
        for (path, leaf), value in zip(self._space.leaves, self._space.flatten(trial.params), strict=True):
            if leaf.size != 1:
                place = None if value is MISSING else _encode(leaf, value)
                if place is None:
                    return None
                encoded[".".join(path)] = place
        distributions = self._distributions
        if self._program is not None and self._program.has_space:
            own_distributions = self._program.distributions(self._optuna, trial)
            if own_distributions is None:
                return None
            encoded, distributions = {name: trial.params[name] for name in own_distributions}, own_distributions
        states = self._optuna.trial.TrialState
        values = _values(trial, self._metrics)
        state = {
            TrialState.FINISHED: states.COMPLETE if values else states.FAIL,
            TrialState.STOPPED: states.PRUNED,
            TrialState.FAILED: states.FAIL,
            TrialState.CRASHED: states.FAIL,
            TrialState.KILLED: states.FAIL,
        }.get(trial.state, states.RUNNING)
        is_pruned = state == states.PRUNED and values and len(values) == 1
        return self._optuna.trial.create_trial(
            state=state,
            params=encoded,
            distributions=distributions,
            values=values if state == states.COMPLETE else None,
            intermediate_values={max(len(trial.curve), 1): values[0]} if is_pruned and values else {},
        )

    def _decoded(self, encoded: dict[str, Any]) -> Params:
        own = self._space.nest(
            [
                leaf.ppf(0.5) if leaf.size == 1 else _decode(leaf, encoded[".".join(path)])
                for path, leaf in self._space.leaves
            ]
        )
        return own | {name: value for name, value in encoded.items() if name not in self._distributions}

    def _distribution(self, leaf: Distribution) -> Any:
        if _is_listed(leaf):
            return self._optuna.distributions.CategoricalDistribution(range(leaf.size or 0))
        return self._optuna.distributions.FloatDistribution(0.0, 1.0)


def _import_optuna() -> Any:
    try:
        optuna = import_module("optuna")  # an optional dependency, slow to import
    except ImportError as err:
        raise UsageError(
            "scheduler.engine: optuna is not installed; pip install 'smsweep[optuna]', or use method bayes"
        ) from err
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _values(trial: Trial, metrics: Sequence[Metric]) -> list[float] | None:
    if len(metrics) == 1:
        value = objective(trial, metrics[0])
        return None if value is None else [value]
    values = outcome(trial, metrics)
    return None if values is None else [metric.goal.sign * x for metric, x in zip(metrics, values, strict=True)]


def _is_listed(leaf: Distribution) -> bool:
    return isinstance(leaf, (Categorical, CategoricalWithProbabilities))


def _encode(leaf: Distribution, value: Any) -> float | int | None:
    if _is_listed(leaf):
        return leaf.index_of(value)
    return leaf.cdf(value) if is_number(value) else None  # the value is from another space


def _decode(leaf: Distribution, place: Any) -> Any:
    return leaf.value_at(place) if _is_listed(leaf) else leaf.ppf(place)
