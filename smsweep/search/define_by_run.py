"""A space or a sampler of Optuna's that is a program: functions of `scheduler.source`."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from smsweep.core.trial import Trial
from smsweep.errors import SpaceError

# Samplers that keep what they learn in a study, where the next agent would not find it.
STATEFUL = ("CmaEsSampler", "GridSampler", "NSGAIIISampler", "NSGAIISampler", "QMCSampler")


class Program:
    """The functions that `search_space` and `optimizer` name in the source, whose text is `code`.

    search_space takes a trial of Optuna's and asks it for each param; which ones may depend on what it answered.
    optimizer takes a seed, or nothing, and returns a sampler, or a study with one.
    Raises SpaceError where the source is not to be run, or cannot be.
    """

    def __init__(self, scheduler: Mapping[str, Any]) -> None:
        self._file = str(scheduler["source"])
        if "code" not in scheduler:
            raise SpaceError(f"scheduler.source: the text of {self._file} is not at hand; create the sweep anew")
        module = ModuleType(f"{__name__}:{self._file}")
        module.__file__ = self._file
        sys.modules[module.__name__] = module  # where dataclasses look for it
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
        """Have the space ask a trial of Optuna's for its params. Raises SpaceError."""
        if self._space is not None:
            try:
                self._space(trial)
            except (Exception, SystemExit) as err:
                raise self._broken("search_space", err) from err

    def distributions(self, optuna: Any, trial: Trial) -> dict[str, Any] | None:
        """Return what the params of a known trial were drawn from, by name; None where this space has others."""
        known = optuna.trial.FixedTrial(dict(trial.params), number=trial.number)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of values out of range, which the next line refuses
                self.ask(known)
            optuna.trial.create_trial(value=0.0, params=known.params, distributions=known.distributions)
        except (SpaceError, ValueError):
            return None  # it lacks a param that the space asks for, or has a value that it does not hold
        found: dict[str, Any] = known.distributions
        return found

    def sampler(self, name: str, optuna: Any, seed: int) -> Any:
        """Return what the function makes; where it takes no seed, that draws as chance will have it.

        Raises SpaceError.
        """
        optimizer = self._function("optimizer", name)
        try:
            takes_seed = bool(inspect.signature(optimizer).parameters)
            made = optimizer(seed) if takes_seed else optimizer()
        except (Exception, SystemExit) as err:
            raise self._broken("optimizer", err) from err
        sampler = getattr(made, "sampler", made)
        if not isinstance(sampler, optuna.samplers.BaseSampler):
            raise SpaceError(f"scheduler.optimizer: expected a sampler or a study from {self._file}, got {made!r}")
        if {kind.__name__ for kind in type(sampler).__mro__} & set(STATEFUL):
            raise SpaceError(
                f"scheduler.optimizer: {type(sampler).__name__} keeps what it learns in a study, and each trial "
                "is asked for in one made anew; use TPESampler, GPSampler or another that learns from the trials"
            )
        if not takes_seed:
            sampler.reseed_rng()
        return sampler

    def _function(self, key: str, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] | None = getattr(self._module, name, None)
        if not callable(found):
            raise SpaceError(f"scheduler.{key}: {self._file} has no function {name!r}")
        return found

    def _broken(self, key: str, err: BaseException) -> SpaceError:
        return SpaceError(f"scheduler.{key}: {self._file} ended in {type(err).__name__}: {err}")
