"""10,000 trials of one second, 16 at once, with smsweep, Ray Tune and Syne Tune, and the cost of empty trials.

The floor is the time that the trials need without any overhead: 10,000 / 16 s. All systems run as commands,
including their start, one after the other on the same machine. In smsweep and Syne Tune, each trial is a
process that runs a script. In Ray, each trial is a call of a function in a worker that Ray uses again. "Loop"
starts the script of smsweep's trials with `subprocess` and records nothing; it shows what the processes
themselves cost. Each trial reports one metric, except in the loop.

The table has the wall time, the overhead (wall time / floor), the time between two trials in a slot (with the
start of the next script and its imports), the CPU time of all processes per trial, and the largest sum of the
memory of all processes, in total and per slot. Shared memory counts once (PSS). The second table has the same
for trials that end at once. A busy machine affects the CPU time least. Ray's own benchmark reports an overhead
of 1.14 on 16 cores.

    python -m benchmarks.ten_thousand [--trials 10000] [--slots 16] [--seconds 1] [--empty 1000]
        [--systems smsweep loop ray syne-tune]

Linux only. Environments of peers are created on first use and need 2 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.ratios import leave
from smsweep.runtime.job import child_reaper
from tools.environments import oracle

PEERS = Path(__file__).parent / "trial_peers"
SCRIPT = """\
import os, sys, time
begin = time.time()
import smsweep
smsweep.log({"loss": float(sys.argv[1].partition("=")[2])})
time.sleep(float(os.environ["SECONDS"]))
with open(os.environ["TIMES"], "a") as file:
    file.write(f"{begin} {time.time()}\\n")
"""
SWEEP = """\
program: train.py
method: random
run_cap: %d
metric: {name: loss, goal: minimize}
parameters:
  a: {min: 0.0, max: 1.0}
"""
LOOP = """\
import subprocess, sys
from concurrent.futures import ThreadPoolExecutor

def run(number):
    argv = ["/usr/bin/env", "python", "bare.py", f"--a={number}"]
    with open(f"{number}.log", "wb") as log:
        subprocess.run(argv, stdout=log, stderr=log, check=True)

with ThreadPoolExecutor(int(sys.argv[2])) as pool:
    list(pool.map(run, range(int(sys.argv[1]))))
"""
SAMPLE_S = 1.0  # between two measurements of the memory
LAST_S = 60.0  # for background processes of a system to end
SYSTEMS = ("smsweep", "loop", "ray", "syne-tune")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What one system needed for a number of trials."""

    wall_s: float
    between_s: float  # that a slot needs for a trial, in addition to the trial's length
    cpu_s: float  # per trial
    memory_mib: float  # of all processes, at most


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a trial")
    parser.add_argument("--empty", type=int, default=1_000, help="trials that end at once; 0 for none")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    child_reaper.prepare()
    child_reaper.become_reaper()  # the CPU time of Ray's background processes is known when they are reaped
    pythons = {name: str(oracle(name).python) if name in ("ray", "syne-tune") else "" for name in options.systems}
    if options.trials:
        compare(pythons, options.trials, options.slots, options.seconds)
    if options.empty:
        compare(pythons, options.empty, options.slots, 0.0)


def compare(pythons: dict[str, str], trials: int, slots: int, seconds: float) -> None:
    """Run the same number of trials in all systems, and print a table."""
    floor_s = math.ceil(trials / slots) * seconds
    what = f"{trials} trials of {seconds:g} s" if seconds else f"{trials} empty trials"
    print(f"{what}, {slots} at once, {os.cpu_count()} cores" + (f", floor {floor_s:g} s" if seconds else ""))
    print("| system | wall | overhead | between trials | CPU per trial | memory | memory per slot |")
    print("|---|---|---|---|---|---|---|")
    costs = {}
    for name, python in pythons.items():
        cost = costs[name] = measure(name, python, trials, slots, seconds)
        overhead = f"{cost.wall_s / floor_s:.3f}" if floor_s else f"{1000 * cost.wall_s / trials:.1f} ms per trial"
        print(
            f"| {name} | {cost.wall_s:.1f} s | {overhead} | {1000 * cost.between_s:.0f} ms "
            f"| {1000 * cost.cpu_s:.1f} ms | {cost.memory_mib:.0f} MiB | {cost.memory_mib / slots:.0f} MiB |",
            flush=True,
        )
    for name in (name for name in costs if name != "smsweep" and "smsweep" in costs):
        ours, theirs = costs["smsweep"], costs[name]
        leave(f"{what}: wall s", name, ours.wall_s, theirs.wall_s)
        leave(f"{what}: CPU s per trial", name, ours.cpu_s, theirs.cpu_s)
        leave(f"{what}: memory MiB", name, ours.memory_mib, theirs.memory_mib)


def measure(name: str, python: str, trials: int, slots: int, seconds: float) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        source.mkdir()
        (source / "train.py").write_text(SCRIPT)
        (source / "bare.py").write_text("\n".join(line for line in SCRIPT.split("\n") if "smsweep" not in line))
        (source / "loop.py").write_text(LOOP)
        (source / "sweep.yaml").write_text(SWEEP % trials)
        times = Path(folder, "times")
        here = Path(sys.executable)
        size = [str(trials), str(slots), str(seconds)]
        commands = {
            "smsweep": [str(here.with_name("smsweep")), "-q", "run", "sweep.yaml", "--parallel", str(slots)],
            "loop": [str(here), "loop.py", *size],
            "ray": [python, str(PEERS / "ray_tune.py"), *size],
            "syne-tune": [python, str(PEERS / "syne_tune_local.py"), *size],
        }
        environ = {
            **os.environ,
            "HOME": folder,  # results of the peers
            "PATH": os.pathsep.join([str(here.parent), os.environ["PATH"]]),
            "RAY_USAGE_STATS_ENABLED": "0",
            "SMSWEEP_DIR": str(Path(folder, "smsweep")),
            "SECONDS": str(seconds),
            "TIMES": str(times),
        }
        wall_s, cpu_s, memory_mib = run(commands[name], source, environ)
        spans = [tuple(map(float, line.split())) for line in times.read_text().splitlines()]
        assert len(spans) >= trials, f"{name} ran {len(spans)} of {trials} trials"  # Syne Tune starts some more
        trials = len(spans)
    lasted_s = max(end for _, end in spans) - min(begin for begin, _ in spans)
    between_s = lasted_s * slots / trials - seconds
    return Cost(wall_s=wall_s, between_s=between_s, cpu_s=cpu_s / trials, memory_mib=memory_mib)


def run(argv: Sequence[str], folder: Path, environ: dict[str, str]) -> tuple[float, float, float]:
    """Return the wall time in s, the CPU time of all processes in s, and their memory in MiB."""
    cpu_before_s, memory_mib, log = cpu_of_children(), 0.0, folder.parent / "log"
    begin = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(argv, cwd=folder, env=environ, stdout=file, stderr=file)
        cpu_s_by_pid: dict[int, float] = {}
        while True:
            try:
                process.wait(SAMPLE_S)
                break
            except subprocess.TimeoutExpired:
                memory_mib = max(memory_mib, sample(cpu_s_by_pid))
    wall_s = time.perf_counter() - begin
    if process.returncode:
        sys.exit(f"{argv[0]} exited with code {process.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
    deadline = time.monotonic() + LAST_S
    while child_reaper.has_running_orphans():
        if time.monotonic() > deadline:
            child_reaper.kill_all()
        time.sleep(0.05)
    # A process that is reaped adds its CPU time to its parent's. Ray does not reap its workers, which the samples
    # include. The lower of the two values misses processes.
    return wall_s, max(cpu_of_children() - cpu_before_s, sum(cpu_s_by_pid.values())), memory_mib


def sample(cpu_s_by_pid: dict[int, float]) -> float:
    """Return the memory of all descendants of this process in MiB, and update the CPU time of each."""
    pss = 0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            pss += process.memory_full_info().pss  # shared memory counts once
            used = process.cpu_times()
            cpu_s_by_pid[process.pid] = used.user + used.system
    return pss / 2**20


def cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
