"""Time of the store and the controller per trial, in sweeps with 100, 10,000 and 100,000 trials.

Prints medians in milliseconds. If a row is constant, the size of the sweep has no effect. `first read` is
the time that an agent needs once at its start, and `memory` is its memory after that. Both grow linearly
with the sweep.

    python benchmarks/store_scale.py [--sizes 100 10000 100000] [--repeat 50]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.sweep import Sweep
from smsweep.core.trial import MetricPoint, TrialState
from smsweep.engine.controller import Controller, Rules
from smsweep.search.registry import make_strategy
from smsweep.services.workspace import read_stored
from smsweep.store.open import open_store
from smsweep.store.sql import SqlStore
from smsweep.store.tables import trials

SWEEPS = {
    "grid of 10^9 cells": "{method: grid, parameters: {a: {min: 1, max: 1000000000}}}",
    "random, finite": "{method: random, parameters: {a: {min: 1, max: 1000000000}}}",
    "random, continuous": "{method: random, parameters: {lr: {min: 0.0, max: 1.0}}}",
}
BATCH = 10_000  # trials per insert that fills the sweep

R = TypeVar("R")


class Stopwatch:
    """Collects the durations of calls by name."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)

    def time(self, name: str, action: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        start = time.perf_counter()
        result = action(*args, **kwargs)
        self._seconds[name].append(time.perf_counter() - start)
        return result

    def medians_ms(self) -> dict[str, float]:
        return {name: statistics.median(seconds) * 1000 for name, seconds in self._seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 10_000, 100_000])
    parser.add_argument("--repeat", type=int, default=50)
    options = parser.parse_args()
    for name, text in SWEEPS.items():
        with tempfile.TemporaryDirectory() as folder:
            columns = [measure(Path(folder) / f"{size}.db", text, size, options.repeat) for size in options.sizes]
        print(f"\n{name:24}" + "".join(f"{size:>12,}" for size in options.sizes))
        for row in columns[0]:
            print(f"  {row:22}" + "".join(f"{column[row]:12.2f}" for column in columns))


def measure(file: Path, text: str, size: int, repeat: int) -> dict[str, float]:
    """Return row -> ms (memory: MB) for a sweep with this number of finished trials."""
    store = open_store(f"sqlite:///{file}", environ={}, parse=read_stored)
    assert isinstance(store, SqlStore)
    sweep = store.create_sweep(Sweep(id="scale", config=parse_sweep(text).config, sweep_yaml=text))
    fill(store, make_controller(store, sweep), size)
    watch = Stopwatch()
    tracemalloc.start()
    controller = make_controller(store, sweep)
    controller.refresh()
    memory_mb = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    watch.time("first read", make_controller(store, sweep).refresh)
    controller.propose(1)  # the strategy reads the complete history once
    for _ in range(repeat):
        watch.time("propose", controller.propose, 1)
        one_trial(store, watch)
        watch.time("read what changed", controller.refresh)
        watch.time("read nothing new", controller.refresh)
    store.close()
    return {**watch.medians_ms(), "memory (MB)": memory_mb}


def make_controller(store: SqlStore, sweep: Sweep) -> Controller:
    return Controller(store, sweep, Rules(strategy=make_strategy(sweep.config, sweep.seed)))


def fill(store: SqlStore, controller: Controller, size: int) -> None:
    """Add trials, and mark them as finished in one statement."""
    controller.refresh()
    while (missing := size - len(controller.history)) > 0:
        controller.propose(min(missing, BATCH))
    store.transactions.write(lambda connection: connection.execute(sa.update(trials).values(state="finished")))


def one_trial(store: SqlStore, watch: Stopwatch) -> None:
    trial = watch.time("claim", store.claim, "scale", "agent", "here", 60)
    assert trial is not None and trial.started_at is not None
    point = MetricPoint(name="loss", value=0.5, step=0, time=trial.started_at)
    number = trial.number
    watch.time("save a point", store.append_points, "scale", number, [point], "9", expect_cursor="")
    watch.time("end", store.move, "scale", number, [TrialState.RUNNING], TrialState.FINISHED, agent_id="agent")


if __name__ == "__main__":
    main()
