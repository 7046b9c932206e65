"""The search methods, by W&B's names, and how many trials they will make."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from smsweep.repeats import Repeats
from smsweep.search.base import SearchStrategy
from smsweep.search.repeated import Repeated
from smsweep.sweeps import SweepConfig
from smsweep.tables import LazyTable

# W&B's `custom` leaves the choice to a scheduler of the user's own; nothing here can make it.
METHODS: Mapping[str, Callable[[SweepConfig, int], SearchStrategy]] = LazyTable(
    {
        "grid": "smsweep.search.grid_search:GridSearch",
        "random": "smsweep.search.random_search:RandomSearch",
        "bayes": "smsweep.search.bayes_search:BayesSearch",
    }
)


def make_strategy(config: SweepConfig, seed: int, repeats: int = 1) -> SearchStrategy:
    """Return what proposes the sweep's trials. repeats: how often each assignment is tried."""
    strategy = METHODS[config.method](config, seed)
    return strategy if repeats == 1 else Repeated(strategy, Repeats(repeats, config.metric))


def expected_trial_count(config: SweepConfig, repeats: int = 1) -> int | None:
    """Return how many trials the sweep makes if nobody intervenes; None when it goes on until stopped.

    Cells that trials of an earlier sweep cover are counted, though they will not be run.
    """
    cells = config.space.grid_size if config.method == "grid" else None
    wanted = cells * repeats if cells is not None else None
    return min((n for n in (wanted, config.run_cap) if n is not None), default=None)
