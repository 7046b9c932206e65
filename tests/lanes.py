"""All tests in lanes, one process each side by side: `python -m tests.lanes [--again] [PYTEST ARGUMENT ...]`.

Several agents are forked by some tests, which is sure only from a process without threads: hence processes of
their own instead of pytest-xdist's workers. What uses the Docker Engine is in one lane: its tests count
containers, and stop the engine. Meanwhile the environments of tests.oracles are made, so that no test waits long.

With --again, tests that failed are tried once more when all lanes have ended, one at a time, and told: on a busy
machine a test of several processes can run out of patience. What fails again has failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

AT_ONCE = 2  # lanes
LANES = {  # name -> pytest's -m; in an order in which both places are busy to the end
    "acceptance": "acceptance and not slow and not docker and not oracle",
    "middle": "not acceptance and not docker and not oracle and not fast",
    "slow": "acceptance and slow and not docker and not oracle",
    "oracle": "oracle and not docker",
    "engine": "docker",
    "fast": "fast",
}
FAILED, INTERRUPTED, NOTHING_TO_RUN = 1, 2, 5  # exit codes of pytest
LAST_FAILED = ("--last-failed", "--last-failed-no-failures=none")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--again", action="store_true", help="try once more what failed, one at a time")
    parser.add_argument(
        "-m", dest="marked", default="", help="of each lane only what this expression of marks names"
    )
    options, arguments = parser.parse_known_args()
    environments = subprocess.Popen([sys.executable, "-m", "tests.oracles"])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        lanes = {name: pool.submit(run, name, command(name, options.marked, *arguments)) for name in LANES}
        try:
            codes = {name: lane.result() for name, lane in lanes.items()}
        except KeyboardInterrupt:  # the lanes had it as well, and say what they have to say
            pool.shutdown(cancel_futures=True)
            return INTERRUPTED
    environments.wait()
    if options.again:
        for name in [name for name, code in codes.items() if code == FAILED]:
            print(f"{name}: trying what failed once more", flush=True)
            codes[name] = run(name, command(name, options.marked, *arguments, *LAST_FAILED))
    ran = [abs(code) for code in codes.values() if code != NOTHING_TO_RUN]
    return max(ran, default=NOTHING_TO_RUN)


def command(lane: str, marked: str, *arguments: str) -> Sequence[str]:
    """Return Python's arguments for one lane; each remembers its failures in a place of its own."""
    cache = f"cache_dir=.pytest_cache/{lane}"
    marks = f"({LANES[lane]}) and ({marked})" if marked else LANES[lane]
    return ["-m", "pytest", "-n", "0", "--durations=20", "-o", cache, "-m", marks, *arguments]


def run(name: str, arguments: Sequence[str]) -> int:
    """Run Python to its end, its lines shown with a name before them, and return its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-u", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    for line in process.stdout or ():
        sys.stdout.write(f"{name}: {line}")
        sys.stdout.flush()
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
