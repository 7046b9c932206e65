"""Run all tests in parallel lanes, one process per lane: `python -m tools.lanes [PYTEST ARGUMENT ...]`.

Some tests fork agents, which is safe only in a process without threads. Lanes are therefore separate processes,
not workers of pytest-xdist. All tests that use the Docker Engine are in one lane, because they count containers
and stop the engine. The tests with a browser are in the same lane: Chromium aborts its requests when Docker adds
or removes a network interface (net::ERR_NETWORK_CHANGED). The environments of tools.environments are created at
the same time, and the lanes oracle and sdk wait for them: otherwise a test that creates one could exceed its time
limit.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

AT_ONCE = 6  # lanes: tests wait often, so two cores are busy with six
OTHERS = "not browser and not docker and not oracle"
ORACLE = "oracle and not browser and not docker"
LANES = {  # name -> pytest's -m and paths; long lanes start first, so that no lane is left over at the end
    "engine": ("browser or docker", ["tests"]),
    "acceptance": (f"acceptance and not slow and {OTHERS}", ["tests/acceptance"]),
    "aws": (f"aws and {OTHERS}", ["tests/sagemaker"]),
    "oracle": (ORACLE, ["tests/oracle"]),
    "sdk": (ORACLE, ["tests", "--ignore=tests/oracle"]),
    "middle": (f"not acceptance and not aws and not fast and {OTHERS}", ["tests"]),
    "security": (f"aws and {OTHERS}", ["tests/security"]),
    "fast": ("fast", ["tests/unit", *map(str, sorted(Path("tests").glob("test_*.py")))]),
    "slow": (f"acceptance and slow and {OTHERS}", ["tests/acceptance"]),
}
START_S = time.monotonic()
INTERRUPTED, NOTHING_TO_RUN = 2, 5  # exit codes of pytest


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "-m", dest="marked", default="", help="run only tests of each lane that match this expression"
    )
    options, arguments = parser.parse_known_args()
    environments = subprocess.Popen([sys.executable, "-m", "tools.environments"])

    def run_lane(name: str) -> int:
        if LANES[name][0] == ORACLE:
            environments.wait()
        return run(name, command(name, options.marked, *arguments))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        lanes = {name: pool.submit(run_lane, name) for name in LANES}
        try:
            codes = {name: lane.result() for name, lane in lanes.items()}
        except KeyboardInterrupt:  # the lanes receive the signal, too, and report their results
            pool.shutdown(cancel_futures=True)
            return INTERRUPTED
    environments.wait()
    ran = [abs(code) for code in codes.values() if code != NOTHING_TO_RUN]
    return max(ran, default=NOTHING_TO_RUN)


def command(lane: str, marked: str, *arguments: str) -> Sequence[str]:
    """Return the arguments of Python for one lane. Each lane has its own cache of failures."""
    marks, paths = LANES[lane]
    if marked:
        marks = f"({marks}) and ({marked})"
    options = ["-n", "0", "--durations=20", "-o", f"cache_dir=.pytest_cache/{lane}"]
    return ["-m", "pytest", *options, "-m", marks, *paths, *arguments]


def run(name: str, arguments: Sequence[str]) -> int:
    """Run Python, print its lines with the lane and the minutes since the start, and return its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-u", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    for line in process.stdout or ():
        minutes, seconds = divmod(int(time.monotonic() - START_S), 60)
        sys.stdout.write(f"{name}: {minutes:2}:{seconds:02} {line}")
        sys.stdout.flush()
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
