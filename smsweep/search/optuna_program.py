"""The user's search program, `scheduler.source`, which W&B's scheduler runs as well."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from smsweep.core.sweep import SweepConfig
from smsweep.core.trial import Params
from smsweep.errors import SpaceError
from smsweep.search.optuna_search import SAMPLERS

MAX_SEED = 2**32 - 1  # of numpy; a QMCSampler without a seed draws one of 64 bits


@dataclass(frozen=True)
class SweepInfo:
    """What the function `scheduler.optimizer` receives, with the attributes of W&B's class.

    Attributes:
        id: The id of the sweep; "" before it is created.
        name: The name of the sweep, or else its id.
        entity: W&B entity; "" if none is set.
        project: W&B project; "" if none is set.
        config: sweep.yaml as plain data.
        controller_run_name: The same as `id`, because no run of W&B controls the sweep.
    """

    id: str
    name: str
    entity: str
    project: str
    config: dict[str, Any]
    controller_run_name: str

    @classmethod
    def of(cls, config: SweepConfig, sweep_id: str = "", name: str | None = None) -> SweepInfo:
        return cls(
            id=sweep_id,
            name=name or config.name or sweep_id,
            entity=config.entity or "",
            project=config.project or "",
            config=dict(config.document),
            controller_run_name=sweep_id,
        )


class Program:
    """The functions of the source that `search_space` and `optimizer` name.

    `search_space` receives an Optuna trial and returns the params. `optimizer` receives a SweepInfo and returns a
    study, or a study and a function that ends the sweep.

    Args:
        scheduler: The section `scheduler` of sweep.yaml, with the text of the source as `code` and the
            `SweepInfo` as `sweep`.

    Raises:
        SpaceError: The text is missing, or the source raised an exception.
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
        self.info: SweepInfo = scheduler.get("sweep") or SweepInfo("", "", "", "", {}, "")
        space, optimizer = scheduler.get("search_space"), scheduler.get("optimizer")
        self._space = self._function("search_space", space) if space is not None else None
        self._optimizer: Callable[..., Any] | None = None
        if optimizer is not None and (hasattr(module, optimizer) or optimizer not in SAMPLERS):
            self._optimizer = self._function("optimizer", optimizer)

    @property
    def has_space(self) -> bool:
        return self._space is not None

    @property
    def has_optimizer(self) -> bool:
        return self._optimizer is not None

    def ask(self, trial: Any) -> Params:
        """Return what `search_space` returns for an Optuna trial. Raises SpaceError."""
        assert self._space is not None
        try:
            params = self._space(trial)
        except (Exception, SystemExit) as err:
            raise self._broken("search_space", err) from err
        if not isinstance(params, Mapping):
            raise SpaceError(
                f"scheduler.search_space: {self._file} returned {type(params).__name__}, not a dict; "
                "return the params of the run, as W&B requires"
            )
        return {str(name): _plain(value) for name, value in params.items()}

    def study(self, optuna: Any, seed: int) -> tuple[Any, Callable[[Any], object] | None]:
        """Return the study and the terminator of `optimizer`.

        Args:
            optuna: The module.
            seed: Seeds the samplers that have no seed.

        Raises:
            SpaceError: The function failed, or its result is not a study that smsweep can use.
        """
        assert self._optimizer is not None
        try:
            made = self._optimizer(self.info)
        except (Exception, SystemExit) as err:
            raise self._broken("optimizer", err) from err
        study, terminator = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
        if not isinstance(study, optuna.Study) or not (terminator is None or callable(terminator)):
            given = tuple(type(each).__name__ for each in made) if isinstance(made, tuple) else type(made).__name__
            raise SpaceError(
                f"scheduler.optimizer: {self._file} returned {given}; return a study, such as "
                "optuna.create_study(sampler=...), or a study and a function that ends the sweep"
            )
        if not isinstance(study._storage, optuna.storages.InMemoryStorage):
            raise SpaceError(
                "scheduler.optimizer: the study has a storage; create it without storage, because smsweep "
                "rebuilds it from the trials"
            )
        seed_samplers(optuna, [study.sampler, getattr(terminator, "__self__", None)], seed)
        return _named(optuna, study, self.info.id or "sweep"), terminator

    def ends(self, terminator: Callable[[Any], object], study: Any) -> bool:
        """Return True if the terminator ends the sweep. Raises SpaceError."""
        try:
            return bool(terminator(study))
        except (Exception, SystemExit) as err:
            raise self._broken("optimizer: its terminator", err) from err

    def _function(self, key: str, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] | None = getattr(self._module, name, None)
        if not callable(function):
            raise SpaceError(f"scheduler.{key}: {self._file} has no function {name!r}")
        return function

    def _broken(self, key: str, err: BaseException) -> SpaceError:
        fix = "; install it where smsweep runs" if isinstance(err, ModuleNotFoundError) else ""
        return SpaceError(f"scheduler.{key}: {self._file} raised {type(err).__name__}: {err}{fix}")


def seed_samplers(optuna: Any, roots: Sequence[Any], seed: int) -> None:
    """Seed what draws numbers in samplers and terminators and has no seed, so that all agents draw the same.

    Args:
        optuna: The module.
        roots: Samplers, or objects that contain them.
        seed: Determines the new seeds.
    """
    from optuna.samplers._lazy_random_state import LazyRandomState  # Optuna has no public way to set a seed

    rng, seen, waiting = random.Random(f"{seed}/study"), set[int](), list(roots)  # noqa: S311 - not a secret
    while waiting:
        item = waiting.pop(0)
        if id(item) in seen or isinstance(item, (type, ModuleType, optuna.Study)):
            continue
        seen.add(id(item))
        if isinstance(item, LazyRandomState) and item._rng is None:
            item.rng.seed(rng.getrandbits(32))
        elif isinstance(item, optuna.samplers.QMCSampler) and item._seed > MAX_SEED:
            item._seed = rng.getrandbits(32)
        waiting += item if isinstance(item, (list, tuple)) else getattr(item, "__dict__", {}).values()


def _named(optuna: Any, study: Any, name: str) -> Any:
    """Return the study, with this name if Optuna drew its name, because HyperbandPruner chooses brackets by it."""
    if not study.study_name.startswith("no-name-"):
        return study
    named = optuna.create_study(
        study_name=name, sampler=study.sampler, pruner=study.pruner, directions=study.directions
    )
    named.add_trials(study.get_trials(deepcopy=False))
    if study.metric_names:
        named.set_metric_names(study.metric_names)
    for key, value in study.user_attrs.items():
        named.set_user_attr(key, value)
    return named


def _plain(value: Any) -> Any:
    """Return a value without numpy's types, which JSON does not have."""
    return value.item() if hasattr(value, "item") and not isinstance(value, (int, float, str)) else value
