"""The search methods: built-in, plug-ins, and any of them with `repeats`; how many trials a sweep makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smsweep.core.budget import SearchCost, search_cost_of
from smsweep.core.job import JobTemplate, SearchSettings
from smsweep.core.repeats import Repeats
from smsweep.core.sweep import SweepConfig, with_structure
from smsweep.core.trial import History, Params
from smsweep.errors import ConfigError, SpaceError
from smsweep.search.base import SearchStrategy, outlook
from smsweep.search.start_points import Completion, StartPoints
from smsweep.util.plugins import PluginRegistry, check_needs, resolve

if TYPE_CHECKING:
    from pydantic import BaseModel

CUSTOM = "custom"  # the value of `method` that selects an engine
DISTINCT = frozenset({"grid", "bayes", "pareto"})  # methods that never repeat an assignment of a finite space
STRUCTURE = ("conditions", "constraints")
NO_PROGRAM = "scheduler.optimizer: smsweep runs no program with engine ax; remove optimizer, or use engine optuna"
SUPPORTED = {"conditions": "grid, random or bayes", "constraints": "grid, random or bayes"}
NEEDS = (
    "space",
    "seed",
    "metric",
    "metrics",
    "scheduler",
    "options",
    "cost",
    "distinct",
    "beliefs",
    "constraints",
)


class Repeated:
    """Proposes each assignment of another strategy n times in a row, and shows it the n trials as one."""

    def __init__(self, strategy: SearchStrategy, repeats: Repeats) -> None:
        self._strategy = strategy
        self._repeats = repeats

    def suggest(self, history: History, n: int) -> list[Params]:
        seen = self._repeats.follow(history)
        size, numbers = self._repeats.n, range(history.next_number, history.next_number + n)
        groups = {number // size for number in numbers}
        begun = self._repeats.members(history, history.next_number // size)
        current = begun[0].params if begun else None
        fresh = iter(self._strategy.suggest(seen, len(groups) - len(begun[:1])))
        made: list[Params] = []
        for number in numbers:
            if current is None or number % size == 0:
                current = next(fresh, None)
            if current is None:
                break
            made.append(current)
        return made

    def outlook(self, history: History) -> str:
        """Return the outlook of the other strategy."""
        return outlook(self._strategy, self._repeats.follow(history))


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchSpec:
    """The definition of one search method.

    A plug-in provides one through the entry-point group `smsweep.search`.

    Attributes:
        name: The value of `method` in sweep.yaml.
        summary: One line that describes the method.
        factory: Returns a `SearchStrategy`, or the place of such a callable, written `package.module:name`. It
            receives the values that `needs` lists as keyword arguments.
        needs: Arguments of the factory: `space` (the `SearchSpace`), `seed` (an int), `metric` (the `Metric`; a
            sweep without one is refused), `metrics` (a tuple of all metrics, which can be empty), `scheduler` (the
            section of that name), `options` (an instance of the options model), `cost` (the `SearchCost` to save,
            or None; a method without this need is refused if job.yaml sets `search.cost`), `distinct` (True to
            propose each assignment of a finite space once before any is repeated; a method without this need
            is refused if job.yaml sets `search.distinct`), `beliefs` (dotted name of a parameter -> the
            `Belief` about its optimum; a method without this need is refused if job.yaml sets `search.beliefs`),
            `constraints` (the texts of the outcome constraints; other methods propose trials without them).
        options: A frozen pydantic model of `method_options`, or its place; None if the method has no options.
        is_engine: `method: custom` selects the method, not its own name.
        structure: The rules of job.yaml's `search` that the method follows in its `space`: `conditions` and
            `constraints`. A method without a rule is refused if job.yaml has it.
    """

    name: str
    summary: str
    factory: Callable[..., SearchStrategy] | str
    needs: Sequence[str] = ("space", "seed")
    options: type[BaseModel] | str | None = None
    is_engine: bool = False
    structure: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_needs(self, NEEDS)

    @property
    def model(self) -> type[BaseModel] | None:
        """The options model, imported."""
        return resolve(self.options)


METHODS = PluginRegistry(
    "smsweep.search",
    SearchSpec,
    {
        spec.name: spec
        for spec in (
            SearchSpec(
                name="grid",
                summary="every combination once, in W&B's order",
                factory="smsweep.search.grid_and_random:GridSearch",
                needs=("space",),
                structure=STRUCTURE,
            ),
            SearchSpec(
                name="random",
                summary="independent draws",
                factory="smsweep.search.grid_and_random:RandomSearch",
                needs=("space", "seed", "distinct", "beliefs"),
                structure=STRUCTURE,
            ),
            SearchSpec(
                name="bayes",
                summary="Bayesian optimisation with a Gaussian process",
                factory="smsweep.search.bayes.search:BayesSearch",
                needs=("space", "metric", "seed", "cost", "beliefs", "constraints"),
                structure=STRUCTURE,
            ),
            SearchSpec(
                name="pareto",
                summary="the Pareto front of several metrics",
                factory="smsweep.search.pareto_search:ParetoSearch",
                needs=("space", "metrics", "seed", "beliefs", "constraints"),
                structure=STRUCTURE,
                is_engine=True,
            ),
            SearchSpec(
                name="optuna",
                summary="a sampler of Optuna",
                factory="smsweep.search.optuna_study:make_optuna_search",
                needs=("space", "metrics", "scheduler", "seed"),
                is_engine=True,
            ),
            SearchSpec(
                name="ax",
                summary="Bayesian optimisation of Ax",
                factory="smsweep.search.ax_search:AxSearch",
                needs=("space", "metrics", "seed"),
                is_engine=True,
            ),
        )
    },
    reserved=(CUSTOM,),
)


def is_method(name: str) -> bool:
    """Return True if `method` can have this value."""
    builtin = METHODS.builtin.get(name)
    return not builtin.is_engine if builtin is not None else name == CUSTOM or name in METHODS


def method_names() -> list[str]:
    """Return all values that `method` can have."""
    return [*(name for name in METHODS if is_method(name)), CUSTOM]


def engine_of(config: SweepConfig) -> str:
    """Return the name of the search method that proposes a sweep's trials.

    `method: custom` selects `scheduler.engine`. Without a scheduler, several metrics select the Pareto search.

    Raises:
        ConfigError: The method is not installed, or smsweep does not have the engine.
    """
    if config.method != CUSTOM:
        if config.method not in METHODS:
            problem = f"method: the search method {config.method!r} is not installed"
            raise ConfigError(f"{problem}; install the plug-in that provides it")
        return config.method
    scheduler = config.scheduler or {}
    engine = scheduler.get("engine") or ("pareto" if config.metrics else "")
    if engine not in METHODS.builtin:
        subject = f"scheduler.engine: {engine}" if engine else "method: custom"
        raise ConfigError(
            f"{subject} is valid, but smsweep cannot run it; "
            "use metrics, two or more, or scheduler: {engine: optuna}, or {engine: ax}, or method grid, random "
            "or bayes"
        )
    if engine == "ax" and "optimizer" in scheduler:
        raise ConfigError(NO_PROGRAM)
    return engine


def make_strategy(config: SweepConfig, seed: int, job: JobTemplate | None = None) -> SearchStrategy:
    """Return the strategy that proposes the sweep's trials.

    Args:
        config: The sweep.
        seed: The seed of the search.
        job: The settings of the search in job.yaml: `repeats`, `search` and `budget`. Default: none.
            The start points must be in the space; see `check_search_values`.

    Raises:
        ConfigError: The method is not installed, its options are not valid, or it lacks a setting of job.yaml.
        SpaceError: The method cannot search the space, or lacks a metric.
        UsageError: The plug-in that provides the method is broken.
    """
    job = job or JobTemplate()
    check_search(config, job.search)
    config = with_structure(config, job.search)
    spec, cost = METHODS[engine_of(config)], search_cost_of(job, config.run_cap)
    strategy = build_strategy(spec, config, seed, cost, job.search)
    if job.search.start_points:
        strategy = StartPoints(strategy, job.search.start_points, make_completion(config, seed, job.search))
    if job.repeats == 1:
        return strategy
    return Repeated(strategy, Repeats(job.repeats, config.metric, config.metrics, job.search.outcome_constraints))


def make_completion(config: SweepConfig, seed: int, settings: SearchSettings) -> Completion:
    """Return what completes start points, and params that the user adds, as the sweep's search method does.

    Args:
        config: The sweep.
        seed: The seed of the search.
        settings: The settings of the search in job.yaml.
    """
    method = engine_of(config)
    return Completion(
        config.space,
        seed,
        is_grid=method == "grid",
        is_distinct=method in DISTINCT or bool(settings.distinct),
        beliefs=settings.beliefs,
    )


def check_search(config: SweepConfig, settings: SearchSettings) -> None:
    """Raise ConfigError if the search method of a sweep lacks a setting of job.yaml's `search`."""
    method = engine_of(config)
    needs = METHODS[method].needs
    if settings.cost is not None and "cost" not in needs:
        raise ConfigError(
            f"search.cost: the search method {method} does not choose params by their cost; "
            "use method bayes, or remove search.cost from job.yaml"
        )
    for rule in STRUCTURE:
        if getattr(settings, rule) and rule not in METHODS[method].structure:
            raise ConfigError(
                f"search.{rule}: the search method {method} does not support {rule}; "
                f"use method {SUPPORTED[rule]}, or remove search.{rule} from job.yaml"
            )
    if settings.beliefs and "beliefs" not in needs:
        raise ConfigError(
            f"search.beliefs: the search method {method} cannot use beliefs; "
            "use method random or bayes, or remove search.beliefs from job.yaml"
        )
    if (
        settings.distinct is not None
        and "distinct" not in needs
        and not (settings.distinct and method in DISTINCT)
    ):
        what = "repeats no params" if method in DISTINCT else "decides itself whether params repeat"
        raise ConfigError(
            f"search.distinct: the search method {method} {what}; "
            "use method random, or remove search.distinct from job.yaml"
        )


def build_strategy(
    spec: SearchSpec,
    config: SweepConfig,
    seed: int,
    cost: SearchCost | None = None,
    settings: SearchSettings | None = None,
) -> SearchStrategy:
    """Return the strategy of a spec for a sweep. `make_strategy` documents the errors."""
    settings = settings or SearchSettings()
    if "metric" in spec.needs and config.metric is None:
        raise SpaceError(f"method {spec.name} needs to know what to improve: add metric with a name and a goal")
    values: dict[str, Any] = {
        "space": config.space,
        "seed": seed,
        "metric": config.metric,
        "metrics": config.all_metrics,
        "scheduler": config.scheduler or {},
        "cost": cost,
        "distinct": bool(settings.distinct),
        "beliefs": settings.beliefs,
        "constraints": settings.outcome_constraints,
    }
    if spec.model is not None:
        from smsweep.util.sections import read_options  # pydantic is slow to import

        values["options"] = read_options(spec.model, config.method_options, "method_options")
    arguments = {need: values[need] for need in spec.needs}
    strategy: SearchStrategy = METHODS.create(spec.name, spec.factory, **arguments)
    return strategy if spec.name in METHODS.builtin else PluginStrategy(spec.name, strategy)


class PluginStrategy:
    """The strategy of a plug-in. If it raises an exception, the error names the distribution."""

    def __init__(self, name: str, strategy: SearchStrategy) -> None:
        self._name = name
        self._strategy = strategy

    def suggest(self, history: History, n: int) -> list[Params]:
        with METHODS.guard(self._name, "suggest"):
            return self._strategy.suggest(history, n)

    def outlook(self, history: History) -> str:
        with METHODS.guard(self._name, "outlook"):
            return outlook(self._strategy, history)


def expected_trial_count(config: SweepConfig, job: JobTemplate) -> int | None:
    """Return how many trials the sweep makes if no user intervenes; None if it continues until stopped.

    Cells that trials of an earlier sweep cover are counted, although they are not run. So are all repeats of the
    best trials, although the sweep can end without some of them.
    """
    cells = with_structure(config, job.search).space.grid_size if config.method == "grid" else None
    n_final = job.confirm.trials if job.confirm is not None else 0
    wanted = cells * job.repeats + n_final if cells is not None else None
    return min((n for n in (wanted, config.run_cap) if n is not None), default=None)
