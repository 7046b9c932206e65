"""The command line: `python -m tools.simulate`."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from functools import cache
from itertools import chain

from tools.simulate.bugs import BUGS
from tools.simulate.run import Result, Simulator

CHUNK = 50  # seeds that a worker process runs before it reports


@cache
def simulator() -> Simulator:
    return Simulator()


def run_chunk(seeds: Sequence[int]) -> list[Result]:
    logging.disable()
    return [simulator().run(seed) for seed in seeds]


def minimize(result: Result) -> Result:
    """Return a simulation with the same problem and as few faults as possible."""
    kind = result.problem.split(":")[0]
    kept = list(result.faults)
    for fault in result.faults:
        fewer = [other for other in kept if other != fault]
        again = simulator().run(result.seed, allowed=frozenset(fewer))
        if again.problem.split(":")[0] == kind:
            kept, result = list(again.faults), again
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.simulate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default="0:1000", metavar="FIRST:END", help="seeds to run (default: 0:1000)")
    parser.add_argument("--seed", type=int, help="run one seed")
    parser.add_argument("--trace", action="store_true", help="print each call of --seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--bugs", action="store_true", help="count the seeds that find each known bug")
    options = parser.parse_args()
    if options.seed is not None:
        return run_one(options.seed, trace=options.trace)
    first, end = map(int, options.seeds.split(":"))
    if options.bugs:
        return find_bugs(range(first, end), options.jobs)
    return run_many(range(first, end), options.jobs)


def run_one(seed: int, *, trace: bool) -> int:
    if trace:
        logging.basicConfig(level=logging.INFO, format="          %(message)s", stream=sys.stdout)
        logging.getLogger("smsweep").setLevel(logging.INFO)
    else:
        logging.disable()
    result = simulator().run(seed, trace=print if trace else None)
    print(result)
    return 1 if result.problem else 0


def run_many(seeds: Sequence[int], jobs: int) -> int:
    begin_s = time.perf_counter()
    chunks = [seeds[i : i + CHUNK] for i in range(0, len(seeds), CHUNK)]
    problems = []
    n_faults = n_trials = 0
    simulated_s = 0.0
    with ProcessPoolExecutor(jobs) as pool:
        for result in chain.from_iterable(pool.map(run_chunk, chunks)):
            n_faults += len(result.faults)
            n_trials += result.trials
            simulated_s += result.simulated_s
            if result.problem:
                problems.append(result)
                print(f"seed {result.seed}: {result.problem}", flush=True)
    took_s = time.perf_counter() - begin_s
    print(
        f"{len(seeds)} seeds, {n_trials} trials, {n_faults} faults, {simulated_s / 86400:.1f} simulated days, "
        f"{took_s:.0f} s"
    )
    logging.disable()
    for result in problems[:3]:
        small = minimize(result)
        print(f"seed {small.seed}: {small.problem}\n  faults: {', '.join(small.faults) or 'none'}")
    return 1 if problems else 0


def find_bugs(seeds: Sequence[int], jobs: int) -> int:
    """Print for each known bug how many seeds find it first."""
    n_missed = 0
    with ProcessPoolExecutor(jobs) as pool:
        for bug, found in zip(BUGS, pool.map(find_bug, BUGS, [seeds] * len(BUGS)), strict=True):
            if found is None:
                n_missed += 1
                print(f"{bug.__name__}: not found in {len(seeds)} seeds", flush=True)
            else:
                n_seeds, result = found
                print(f"{bug.__name__}: found after {n_seeds} seeds: {result.problem}", flush=True)
    return 1 if n_missed else 0


def find_bug(bug: Callable[[], AbstractContextManager[None]], seeds: Sequence[int]) -> tuple[int, Result] | None:
    """Return the number of seeds until a bug was found, with the result; None if it was not found."""
    logging.disable()
    with bug():
        for n_seeds, seed in enumerate(seeds, start=1):
            result = simulator().run(seed)
            if result.problem:
                return n_seeds, result
    return None


if __name__ == "__main__":
    sys.exit(main())
