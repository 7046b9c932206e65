"""What smsweep costs beside bare processes: 200 do-nothing trials, two at a time, and the start of the command.

The peer starts the same script with the same arguments by `subprocess`, at the same parallelism, in the same run;
rounds alternate. Prints ratios of medians; the machine's speed cancels out.

    python benchmarks/local_overhead.py [--trials 200] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SCRIPT = "import sys\nassert len(sys.argv) == 2\n"
SWEEP = """\
program: train.py
method: grid
parameters:
  a: {min: 1, max: %d}
"""
PARALLEL = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train.py").write_text(SCRIPT)
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


def compare(what: str, ours: Callable[[], object], bare: Callable[[], object], rounds: int) -> None:
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(rounds):
        seconds["ours"].append(timed(ours))
        seconds["bare"].append(timed(bare))
    mine, theirs = statistics.median(seconds["ours"]), statistics.median(seconds["bare"])
    print(
        f"{what}: smsweep {mine:.3f} s, bare {theirs:.3f} s, "
        f"ratio {mine / theirs:.2f}, over bare {mine - theirs:+.3f} s ({rounds} rounds)"
    )


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def run_smsweep(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "SMSWEEP_DIR": home}
        argv = [smsweep(), "-q", "run", "sweep.yaml", "--parallel", str(PARALLEL)]
        call(argv, cwd=folder, env=environ)


def run_bare(folder: Path, trials: int) -> None:
    """Keep as many processes of the same script going, each with its own log file and argument."""
    running: list[subprocess.Popen[bytes]] = []
    with (folder / "bare.log").open("wb") as log:
        for number in range(1, trials + 1):
            argv = ["/usr/bin/env", "python", "train.py", f"--a={number}"]
            running.append(subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log, env=python_first()))
            while len(running) >= PARALLEL:
                running = [process for process in running if process.poll() is None]
                time.sleep(0.0005)
        for process in running:
            process.wait()


def python_first() -> dict[str, str]:
    return {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


def smsweep() -> str:
    return str(Path(sys.executable).with_name("smsweep"))


def call(argv: list[str], **options: object) -> None:
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)  # type: ignore[call-overload]  # plain pass-through


if __name__ == "__main__":
    main()
