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
import threading
from collections.abc import Sequence
from typing import IO

LANES = {"engine": "docker or oracle", "host": "not docker and not oracle"}  # name -> pytest's -m
FAILED, NOTHING_TO_RUN = 1, 5  # exit codes of pytest
LAST_FAILED = ("--last-failed", "--last-failed-no-failures=none")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--again", action="store_true", help="try once more what failed, one at a time")
    parser.add_argument(
        "-m", dest="marked", default="", help="of each lane only what this expression of marks names"
    )
    options, arguments = parser.parse_known_args()
    environments = start("oracles", ["-m", "tests.oracles"])
    lanes = {name: start(name, command(name, options.marked, *arguments)) for name in LANES}
    codes = {name: lane.wait() for name, lane in lanes.items()}
    environments.wait()
    if options.again:
        for name in [name for name, code in codes.items() if code == FAILED]:
            print(f"{name}: trying what failed once more", flush=True)
            codes[name] = start(name, command(name, options.marked, *arguments, *LAST_FAILED)).wait()
    ran = [abs(code) for code in codes.values() if code != NOTHING_TO_RUN]
    return max(ran, default=NOTHING_TO_RUN)


def command(lane: str, marked: str, *arguments: str) -> Sequence[str]:
    """Return Python's arguments for one lane; each remembers its failures in a place of its own."""
    cache = f"cache_dir=.pytest_cache/{lane}"
    marks = f"({LANES[lane]}) and ({marked})" if marked else LANES[lane]
    return ["-m", "pytest", "-n", "0", "-o", cache, "-m", marks, *arguments]


class Lane:
    """A process whose lines are shown with the lane's name before them."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._shown = threading.Thread(target=show, args=(name, process.stdout), daemon=True)
        self._shown.start()

    def wait(self) -> int:
        """Return the exit code, when all lines are shown."""
        try:
            return self._process.wait()
        except KeyboardInterrupt:  # the process had it as well, and says what it has to say
            return self._process.wait()
        finally:
            self._shown.join(timeout=5)


def start(name: str, arguments: Sequence[str]) -> Lane:
    process = subprocess.Popen(
        [sys.executable, "-u", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return Lane(name, process)


def show(name: str, lines: IO[str] | None) -> None:
    for line in lines or ():
        sys.stdout.write(f"{name}: {line}")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
