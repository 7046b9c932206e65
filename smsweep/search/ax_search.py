"""Ax as a search method: `scheduler: {engine: ax}`, with the parameters and the strategy of W&B's scheduler."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from threadpoolctl import ThreadpoolController

from smsweep.core.objective import outcome
from smsweep.core.sweep import Metric
from smsweep.core.trial import History, Params, Trial, TrialState
from smsweep.errors import SpaceError, UsageError
from smsweep.search.ax_space import decode, encode, unit_parameter, wandb_parameter
from smsweep.search.coverage import coverage_of
from smsweep.search.optuna_search import quiet
from smsweep.space.distribution import MISSING, Distribution
from smsweep.space.space import SearchSpace

SEEDS = 2**32  # of numpy
BROKEN = (TrialState.FAILED, TrialState.CRASHED, TrialState.KILLED)
TYPES: Mapping[str, type] = {"bool": bool, "int": int, "float": float, "str": str}


class AxSearch:
    """Asks Ax for each trial, in an experiment that is created from the history.

    Ax proposes the center of the space, then quasi-random points until five trials are known and two of them have
    finished, then the optimum of an acquisition function of a Gaussian process. These numbers are the defaults of
    Ax, which W&B uses. No state is kept: Ax rejects the points that the experiment already has, so that the
    quasi-random sequence continues with the next one.

    Args:
        space: The parameters.
        metrics: One metric or more.
        seed: The seed of all draws.

    Raises:
        UsageError: Ax is not installed.
        SpaceError: There is no metric.
    """

    def __init__(self, space: SearchSpace, metrics: Sequence[Metric], seed: int = 0) -> None:
        if not metrics:
            raise SpaceError("ax needs to know what to improve: add metric with a name and a goal, or metrics")
        self._ax = import_ax()
        self._space = space
        self._metrics = metrics
        self._seed = seed % SEEDS
        self._threads = ThreadpoolController()
        self._coverage = coverage_of(space)
        self._units: dict[str, Distribution] = {}  # params whose Ax value is a number
        self._parameters: dict[str, Any] = {}
        order = {name: position for position, name in enumerate(space.parameters)}  # of the document, as in W&B
        for path, leaf in sorted(space.leaves, key=lambda each: order[each[0][0]]):
            if leaf.size == 1:
                continue
            name = ".".join(path)
            parameter = wandb_parameter(self._ax, name, leaf)
            if parameter is None:
                self._units[name] = leaf
                parameter = unit_parameter(self._ax, name, leaf)
            self._parameters[name] = parameter

    def suggest(self, history: History, n: int) -> list[Params]:
        if self._coverage is not None and self._coverage.size is not None:
            self._coverage.follow(history)
            n = min(n, self._coverage.n_free)
        if n < 1:
            return []
        if not self._parameters:  # all params are constants
            return [self._decoded({})]
        with quiet(), self._threads.limit(limits=1):
            client = self._experiment(history)
            made: list[Params] = []
            while len(made) < n:
                try:
                    asked = client.get_next_trials(max_trials=1)
                except self._ax.exceptions.core.OptimizationComplete:  # Ax finds no new point
                    break
                made += [self._decoded(drawn) for drawn in asked.values()]
                if not asked:
                    break
            return made

    def _experiment(self, history: History) -> Any:
        """Return an Ax client with all trials of the history."""
        client = self._ax.api.client.Client(random_seed=self._seed)
        client.configure_experiment(parameters=list(self._parameters.values()))
        signs = ["-" if metric.goal.sign > 0 else "" for metric in self._metrics]
        client.configure_optimization(objective=", ".join(f"{sign}m{i}" for i, sign in enumerate(signs)))
        trials = [(trial, self._encoded(trial.params)) for trial in (*history.prior, *history)]
        known = [(trial, params) for trial, params in trials if params is not None]
        client.configure_generation_strategy(
            initialization_budget=5,
            min_observed_initialization_trials=2,
            initialize_with_center=not known,
            allow_exceeding_initialization_budget=True,  # more than five workers do not wait
        )
        for trial, params in known:
            self._attach(client, trial, params)
        return client

    def _attach(self, client: Any, trial: Trial, params: Mapping[str, Any]) -> None:
        index = client.attach_trial(parameters=params)
        lower_is_better = outcome(trial, self._metrics)
        if lower_is_better is not None and trial.state not in BROKEN:
            items = zip(self._metrics, lower_is_better, strict=True)
            data = {f"m{i}": metric.goal.sign * value for i, (metric, value) in enumerate(items)}
            client.attach_data(trial_index=index, raw_data=data)
        if not trial.state.is_terminal:
            return
        if lower_is_better is None or trial.state in BROKEN:
            client.mark_trial_abandoned(trial_index=index)  # not failed: Ax would propose the same params again
        elif trial.state is TrialState.STOPPED:
            client.mark_trial_early_stopped(trial_index=index)
        else:
            client.complete_trial(trial_index=index)

    def _encoded(self, params: Params) -> dict[str, Any] | None:
        """Return the Ax values of params; None if they do not fit this space."""
        encoded: dict[str, Any] = {}
        for (path, _), value in zip(self._space.leaves, self._space.flatten(params), strict=True):
            name = ".".join(path)
            if name not in self._parameters:
                continue
            if value is MISSING:
                return None
            leaf = self._units.get(name)
            try:
                cast = TYPES[self._parameters[name].parameter_type]  # JSON has no difference between 5 and 5.0
                encoded[name] = cast(value) if leaf is None else encode(leaf, value)
            except (TypeError, ValueError, OverflowError, SpaceError):
                return None
            if encoded[name] is None:
                return None
        return encoded

    def _decoded(self, drawn: Mapping[str, Any]) -> Params:
        values = []
        for path, leaf in self._space.leaves:
            name = ".".join(path)
            parameter = self._parameters.get(name)
            value = leaf.ppf(0.5) if parameter is None else TYPES[parameter.parameter_type](drawn[name])
            values.append(decode(leaf, value) if name in self._units else value)
        return self._space.nest(values)


def import_ax() -> Any:
    """Return the module ax. Raises UsageError if it is not installed."""
    logging.getLogger("ax.storage.sqa_store.with_db_settings_base").disabled = True  # writes to stderr at import
    try:
        ax = import_module("ax")  # an optional dependency, slow to import
        for name in ("api.client", "api.configs", "exceptions.core", "utils.common.logger"):
            import_module(f"ax.{name}")
    except ImportError as err:
        raise UsageError(
            "scheduler.engine: ax is not installed; pip install 'smsweep[ax]', or use method bayes"
        ) from err
    ax.utils.common.logger.set_ax_logger_levels(logging.ERROR)
    return ax
