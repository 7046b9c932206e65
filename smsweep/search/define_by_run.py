"""A program of the user, `scheduler.source`, that defines an Optuna space or sampler."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from smsweep.core.trial import Trial
from smsweep.errors import SpaceError

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
        found: dict[str, Any] = known.distributions
        return found

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
            takes_seed = bool(inspect.signature(optimizer).parameters)
            made = optimizer(seed) if takes_seed else optimizer()
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
        if not takes_seed:
            sampler.reseed_rng()
        return sampler

    def _function(self, key: str, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] | None = getattr(self._module, name, None)
        if not callable(found):
            raise SpaceError(f"scheduler.{key}: {self._file} has no function {name!r}")
        return found

    def _broken(self, key: str, err: BaseException) -> SpaceError:
        return SpaceError(f"scheduler.{key}: {self._file} raised {type(err).__name__}: {err}")
