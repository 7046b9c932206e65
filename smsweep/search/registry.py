"""The search methods, by W&B's names, and how many trials they will make."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from smsweep.core.repeats import Repeats
from smsweep.core.sweep import SweepConfig
from smsweep.errors import ConfigError
from smsweep.search.base import SearchStrategy
from smsweep.search.repeated import Repeated
from smsweep.util.lazy_registry import LazyTable

# W&B's own three, and what stands behind `custom`; see `engine_of`.
METHODS: Mapping[str, Callable[[SweepConfig, int], SearchStrategy]] = LazyTable(
    {
        "grid": "smsweep.search.grid_search:GridSearch",
        "random": "smsweep.search.random_search:RandomSearch",
        "bayes": "smsweep.search.bayes.search:BayesSearch",
        "pareto": "smsweep.search.pareto_search:ParetoSearch",
        "optuna": "smsweep.search.optuna_search:OptunaSearch",
    }
)


def engine_of(config: SweepConfig) -> str:
    """Return what proposes a sweep's trials, a key of METHODS. Raises ConfigError for what none of them can.

    `method: custom` leaves it to a scheduler; where there is none, several metrics are a search for their front.
    """
    if config.method != "custom":
        return config.method
    scheduler = config.scheduler or {}
    engine = scheduler.get("engine") or ("pareto" if config.metrics else "")
    if engine not in METHODS:
        told = f"scheduler.engine: {engine} is" if engine else "method: custom is"
        raise ConfigError(
            f"{told} valid, but needs something that smsweep has not; "
            "use metrics, two or more, or scheduler: {engine: optuna}, or method grid, random or bayes"
        )
    return engine


def make_strategy(config: SweepConfig, seed: int, repeats: int = 1) -> SearchStrategy:
    """Return what proposes the sweep's trials. repeats: how often each assignment is tried."""
    strategy = METHODS[engine_of(config)](config, seed)
    return strategy if repeats == 1 else Repeated(strategy, Repeats(repeats, config.metric, config.metrics))


def expected_trial_count(config: SweepConfig, repeats: int = 1) -> int | None:
    """Return how many trials the sweep makes if nobody intervenes; None when it goes on until stopped.

    Cells that trials of an earlier sweep cover are counted, though they will not be run.
    """
    cells = config.space.grid_size if config.method == "grid" else None
    wanted = cells * repeats if cells is not None else None
    return min((n for n in (wanted, config.run_cap) if n is not None), default=None)
