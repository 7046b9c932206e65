"""Overhead of smsweep compared with bare processes: 200 empty trials, and the start of the command.

The peer is a loop that starts the same script with the same arguments and Python through `subprocess`, with
the same parallelism of two. Both run as commands, including their start. Rounds alternate. An editable
checkout is compiled first, like an installed package. The output of a round is stored outside the source,
so that the next round does not pack it. The output is removed at the end, because ext4 creates files slowly
for some seconds after thousands of files are removed. Prints medians and ratios of wall time and of CPU
time. A busy machine affects CPU time less.

    python -m benchmarks.local_overhead [--trials 200] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.ratios import leave

SCRIPT = "import sys\nassert len(sys.argv) == 2\n"
SWEEP = """\
program: train.py
method: grid
parameters:
  a: {min: 1, max: %d}
"""
PARALLEL = 2
BARE = f"""\
import subprocess, sys
from concurrent.futures import ThreadPoolExecutor

def run(number):
    argv = ["/usr/bin/env", "python", "train.py", f"--a={{number}}"]
    with open(f"{{sys.argv[2]}}/{{number}}.log", "wb") as log:
        subprocess.run(argv, stdout=log, stderr=log, check=True)

with ThreadPoolExecutor({PARALLEL}) as pool:
    list(pool.map(run, range(1, int(sys.argv[1]) + 1)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    call([sys.executable, "-m", "compileall", "-q", str(Path(__file__).parents[1] / "smsweep")])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "source")
        folder.mkdir()
        (folder / "train.py").write_text(SCRIPT)
        (folder / "bare.py").write_text(BARE)
        (folder / "sweep.yaml").write_text(SWEEP % options.trials)
        compare(
            f"{options.trials} do-nothing trials, {PARALLEL} at a time",
            lambda: run_smsweep(folder),
            lambda: run_bare(folder, options.trials),
            options.rounds,
        )
    python = [sys.executable, "-c", "pass"]
    rounds = options.rounds * 5
    compare("smsweep --help", lambda: call([smsweep(), "--help"]), lambda: call(python), rounds)
    compare("import smsweep", lambda: call([sys.executable, "-c", "import smsweep"]), lambda: call(python), rounds)


def compare(what: str, ours: Callable[[], None], bare: Callable[[], None], rounds: int) -> None:
    seconds = [(timed(ours), timed(bare)) for _ in range(rounds)]
    print(f"{what} (medians of {rounds} rounds)")
    for i, clock in enumerate(("wall", "CPU")):
        mine, theirs = median(mine[i] for mine, _ in seconds), median(theirs[i] for _, theirs in seconds)
        leave(f"{what}: {clock} s", "bare", mine, theirs)
        over = f"ratio {mine / theirs:.2f}, over bare {mine - theirs:+.3f} s"
        print(f"  {clock}: smsweep {mine:.3f} s, bare {theirs:.3f} s, {over}")


def timed(action: Callable[[], None]) -> tuple[float, float]:
    """Return the wall time of a command and the CPU time of all its processes, in seconds."""
    start, cpu = time.perf_counter(), cpu_of_children()
    action()
    return time.perf_counter() - start, cpu_of_children() - cpu


def cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_smsweep(folder: Path) -> None:
    argv = [smsweep(), "-q", "run", "sweep.yaml", "--parallel", str(PARALLEL)]
    call(argv, cwd=folder, env={**python_first(), "SMSWEEP_DIR": new_folder(folder)})


def run_bare(folder: Path, trials: int) -> None:
    call([sys.executable, "bare.py", str(trials), new_folder(folder)], cwd=folder, env=python_first())


def new_folder(source: Path) -> str:
    return tempfile.mkdtemp(dir=source.parent)


def python_first() -> dict[str, str]:
    """Return an environment in which `python` is the current interpreter."""
    return {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


def smsweep() -> str:
    return str(Path(sys.executable).with_name("smsweep"))


def call(argv: list[str], **options: object) -> None:
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)  # type: ignore[call-overload]  # plain pass-through


if __name__ == "__main__":
    main()
