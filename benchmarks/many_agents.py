"""Throughput of one PostgreSQL store with many concurrent agents, in trials per minute.

    python -m benchmarks.many_agents [--agents 64] [--trials 10000] [--parallel 4]

Each agent is a process. The jobs are files that end immediately, so that only agents and store are
measured. The server is that of the tests, on the same machine as the agents. The benchmark checks that
every trial ran exactly once.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

from tests.support.agent_processes import Crew
from tests.support.postgres import run_postgres


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, default=64)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--parallel", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, run_postgres() as server:
        crew = Crew(server.new_schema(), Path(folder), options.trials, lasts_s=0.0, parallel=options.parallel)
        begin = time.perf_counter()
        agents = [crew.start() for _ in range(options.agents)]
        for agent in agents:
            agent.join()
        took_s = time.perf_counter() - begin
        assert {agent.exitcode for agent in agents} == {0}
        crew.check(options.trials)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{options.agents} agents, {options.trials} trials, {options.parallel} at once, {os.cpu_count()} cores")
    print(f"{took_s:.0f} s, {options.trials / took_s * 60:.0f} trials per minute; each ran exactly once")
    print(f"agents: {1000 * (used.ru_utime + used.ru_stime) / options.trials:.1f} ms of CPU per trial,", end=" ")
    print(f"at most {used.ru_maxrss / 1024:.0f} MiB each")


if __name__ == "__main__":
    main()
