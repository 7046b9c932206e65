"""Optuna's samplers as a search method: `scheduler: {engine: optuna}` without a program of the user."""

from __future__ import annotations

import random
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from smsweep.core.objective import objective, outcome
from smsweep.core.sweep import Metric
from smsweep.core.trial import History, Params, Trial, TrialState, is_number
from smsweep.errors import SpaceError, UsageError
from smsweep.search.coverage import coverage_of
from smsweep.space.choices import CHOICES
from smsweep.space.distribution import MISSING, Distribution
from smsweep.space.space import SearchSpace

SAMPLERS: dict[str, dict[str, Any]] = {  # name -> options
    "TPESampler": {"constant_liar": True, "multivariate": True},  # constant_liar: running trials count as bad
    "RandomSampler": {},
}
DRAWS = 8  # attempts to get a new assignment from the sampler before one is drawn at random


class OptunaSearch:
    """Asks an Optuna sampler for each trial, in a study that is created from the history.

    Optuna keeps no state: the sampler of each trial has the seed (seed, number) and receives all trials, so that
    any agent gets the same params. Optuna gets a number as its probability in its distribution, and a listed value
    as its index. Finished trials have their objective, or with several metrics the last value of each. Stopped
    trials are pruned, and failed trials failed, in Optuna's terms. The arguments are those of
    `optuna_study.make_optuna_search`.
    """

    def __init__(
        self, space: SearchSpace, metrics: Sequence[Metric], scheduler: Mapping[str, Any], seed: int = 0
    ) -> None:
        self._metrics = metrics
        self._optuna = import_optuna()
        self._sampler = scheduler.get("optimizer", "TPESampler")
        if self._sampler not in SAMPLERS:
            known = ", ".join(SAMPLERS)
            raise SpaceError(f"scheduler.optimizer: no sampler {self._sampler!r}; there are {known}")
        self._space = space
        self._seed = seed
        self._distributions = {
            ".".join(path): unit_distribution(self._optuna, leaf)
            for path, leaf in self._space.leaves
            if leaf.size != 1
        }
        self._coverage = coverage_of(space)

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
            yield self._decoded(study.ask(self._distributions).params)

    def _make_sampler(self, seed: int) -> Any:
        with quiet():
            return getattr(self._optuna.samplers, self._sampler)(seed=seed, **SAMPLERS[self._sampler])

    def _frozen(self, trial: Trial) -> Any:
        """Return an Optuna trial; None if the params do not fit this space."""
        encoded = {}
        for (path, leaf), value in zip(self._space.leaves, self._space.flatten(trial.params), strict=True):
            if leaf.size != 1:
                place = None if value is MISSING else encode(leaf, value)
                if place is None:
                    return None
                encoded[".".join(path)] = place
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
            distributions=self._distributions,
            values=values if state == states.COMPLETE else None,
            intermediate_values={max(len(trial.curve), 1): values[0]} if is_pruned and values else {},
        )

    def _decoded(self, encoded: dict[str, Any]) -> Params:
        return self._space.nest(
            [
                leaf.ppf(0.5) if leaf.size == 1 else decode(leaf, encoded[".".join(path)])
                for path, leaf in self._space.leaves
            ]
        )


def _values(trial: Trial, metrics: Sequence[Metric]) -> list[float] | None:
    if len(metrics) == 1:
        value = objective(trial, metrics[0])
        return None if value is None else [value]
    values = outcome(trial, metrics)
    return None if values is None else [metric.goal.sign * x for metric, x in zip(metrics, values, strict=True)]


def import_optuna() -> Any:
    """Return the module optuna. Raises UsageError if it is not installed."""
    try:
        optuna = import_module("optuna")  # an optional dependency, slow to import
    except ImportError as err:
        raise UsageError(
            "scheduler.engine: optuna is not installed; pip install 'smsweep[optuna]', or use method bayes"
        ) from err
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


@contextmanager
def quiet() -> Iterator[None]:
    """Hide Optuna's warnings, which are about experimental options and fixed params."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def unit_distribution(optuna: Any, leaf: Distribution) -> Any:
    """Return the distribution of a param that Optuna knows by its index or its probability."""
    if isinstance(leaf, CHOICES):
        return optuna.distributions.CategoricalDistribution(range(leaf.size or 0))
    return optuna.distributions.FloatDistribution(0.0, 1.0)


def encode(leaf: Distribution, value: Any) -> float | int | None:
    """Return the index or the probability of a value; None if the value is from another space."""
    if isinstance(leaf, CHOICES):
        return leaf.index_of(value)
    return leaf.cdf(value) if is_number(value) else None


def decode(leaf: Distribution, place: Any) -> Any:
    """Return the value at an index or a probability."""
    return leaf.value_at(place) if isinstance(leaf, CHOICES) else leaf.ppf(place)
