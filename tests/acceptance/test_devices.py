"""Trials with their own devices, on a pool that a variable sets. The script writes which devices it has."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.walkthrough import NEW_PYTHON, SMSWEEP
from tests.support.working_dir import WorkingDir, grid

# Writes when it started and ended, and what it may use.
TRAIN = """
import json, os, time, uuid
import smsweep
run = smsweep.init()
names = ("CUDA_VISIBLE_DEVICES", "SM_NUM_GPUS", "SM_NUM_CPUS", "SM_RESOURCE_CONFIG")
facts = {name: os.environ.get(name) for name in names} | {"start": time.monotonic()}
facts["cores"] = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
path = os.path.join(run.config.here, "uses", uuid.uuid4().hex)
deadline = time.monotonic() + run.config.lasts_s
while True:
    with open(path + ".part", "w") as file:
        json.dump({**facts, "end": time.monotonic()}, file)
    os.rename(path + ".part", path)
    if time.monotonic() >= deadline:
        break
    time.sleep(0.02)
smsweep.log({"loss": 1.0})
"""
KILLS = 12


class Devices(WorkingDir):
    """A working directory whose agents have a pool and a ledger of their own."""

    def __init__(
        self, folder: Path, pool: str, job: dict[str, Any], lasts_s: float = 0.3, n_trials: int = 4
    ) -> None:
        config = grid(x=list(range(n_trials)), here=str(folder), lasts_s=lasts_s)
        super().__init__(folder, {"train.py": TRAIN, "sweep.yaml": config, "job.yaml": job})
        self.environ |= {"SMSWEEP_DEVICES": pool, "SMSWEEP_LEDGER": str(folder / "ledger")}
        (folder / "uses").mkdir()

    def uses(self) -> list[dict[str, Any]]:
        files = (self.folder / "uses").glob("*")
        return [json.loads(file.read_text()) for file in files if file.suffix != ".part"]


def check_exclusive(uses: list[dict[str, Any]]) -> None:
    """Assert that no two scripts used a device at the same time."""
    by_device = defaultdict(list)
    for use in uses:
        for device in use["CUDA_VISIBLE_DEVICES"].split(","):
            by_device[device].append((use["start"], use["end"]))
    for device, spans in by_device.items():
        spans.sort()
        for (_, end), (start, _) in pairwise(spans):
            assert end < start, f"device {device} was used twice"


def test_parallel_auto_uses_each_device_for_one_trial(tmp_path: Path) -> None:
    workdir = Devices(tmp_path, "0,1", {}, lasts_s=1.0)
    sweep_id = workdir.run("--parallel", "auto")
    assert {trial["state"] for trial in workdir.trials(sweep_id)} == {"finished"}
    uses = workdir.uses()
    assert sorted(use["CUDA_VISIBLE_DEVICES"] for use in uses) == ["0", "0", "1", "1"]
    assert {use["SM_NUM_GPUS"] for use in uses} == {"1"}
    check_exclusive(uses)
    first = min(uses, key=lambda use: use["start"])
    assert any(use is not first and use["start"] < first["end"] for use in uses), "the trials ran one by one"


def test_resources_per_trial_set_devices_cores_and_numbers(tmp_path: Path) -> None:
    job = {"resources_per_trial": {"gpus": 2, "cpus": 1, "memory": "100m"}}
    workdir = Devices(tmp_path, "0,1,2,3", job, n_trials=1)
    workdir.run("--job", "job.yaml")
    (use,) = workdir.uses()
    assert (use["CUDA_VISIBLE_DEVICES"], use["SM_NUM_GPUS"], use["SM_NUM_CPUS"]) == ("0,1", "2", "1")
    assert len(use["cores"]) == 1
    config = json.loads(use["SM_RESOURCE_CONFIG"])
    assert (config["num_gpus"], config["num_cpus"], config["memory_bytes"]) == (2, 1, 100 << 20)


def test_fraction_lets_two_trials_share_a_device(tmp_path: Path) -> None:
    workdir = Devices(tmp_path, "0", {}, lasts_s=1.0, n_trials=2)
    workdir.run("--parallel", "auto", "--gpus-per-trial", "0.5")
    first, second = workdir.uses()
    assert (first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]) == ("0", "0")
    assert max(first["start"], second["start"]) < min(first["end"], second["end"])


def test_gpus_per_trial_of_run_holds_for_later_agents(tmp_path: Path) -> None:
    workdir = Devices(tmp_path, "0,1", {"resources_per_trial": {"cpus": 1}}, n_trials=2)
    sweep_id = workdir.run("--job", "job.yaml", "--count", "1", "--gpus-per-trial", "1")
    workdir.call("agent", sweep_id)
    uses = workdir.uses()
    assert [(use["SM_NUM_GPUS"], len(use["CUDA_VISIBLE_DEVICES"])) for use in uses] == [("1", 1)] * 2
    assert [len(use["cores"]) for use in uses] == [1, 1]


def test_trial_without_gpus_sees_none(tmp_path: Path) -> None:
    workdir = Devices(tmp_path, "0", {"resources_per_trial": {"gpus": 0}}, n_trials=1)
    workdir.run("--job", "job.yaml")
    (use,) = workdir.uses()
    assert (use["CUDA_VISIBLE_DEVICES"], use["SM_NUM_GPUS"]) == ("", "0")


def test_trial_without_resources_inherits_devices_of_its_agent(tmp_path: Path) -> None:
    workdir = Devices(tmp_path, "0", {}, n_trials=1)
    workdir.environ["CUDA_VISIBLE_DEVICES"] = "3,4"
    workdir.run()
    assert [use["CUDA_VISIBLE_DEVICES"] for use in workdir.uses()] == ["3,4"]
    assert not (tmp_path / "ledger").exists()


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--gpus-per-trial", "3"], "needs 3 GPUs, but this agent may use 2"),
        (["--gpus-per-trial", "1.5"], "expected a whole number of GPUs, or a fraction below 1, got 1.5"),
        (["--parallel", "many"], "'many' is not a whole number; write digits, such as 1, or auto"),
        (["--parallel", "auto", "--backend", "sagemaker"], "counts the devices of this machine"),
    ],
)
def test_devices_that_never_fit_are_an_error_before_the_sweep(
    tmp_path: Path, flags: list[str], problem: str
) -> None:
    workdir = Devices(tmp_path, "0,1", {})
    with workdir.start("run", "sweep.yaml", *flags, command=SMSWEEP) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode not in (0, None)
    assert problem in " ".join(err.split())
    assert "Traceback" not in err
    assert workdir.json("ls") == []


def test_second_sweep_waits_for_the_device_and_why_names_its_job(tmp_path: Path) -> None:
    workdir = Devices(tmp_path, "0", {"resources_per_trial": {"gpus": 1}}, lasts_s=600, n_trials=1)
    first, second = workdir.sweep("--job", "job.yaml"), workdir.sweep("--job", "job.yaml")
    holder = start_agent(workdir, first)
    until(lambda: len(workdir.uses()) == 1)
    waiter = start_agent(workdir, second)
    try:
        until(lambda: "waits for its job" in why(workdir, second))
        assert f"too few GPUs of this machine are free; in use by smsweep-{first}-0-0" in why(workdir, second)
        assert not list((tmp_path / ".smsweep" / "jobs").glob(f"smsweep-{second}-*")), "the job has a folder"
        workdir.call("sweep", "--cancel", first)
        until(lambda: len(workdir.uses()) == 2)
        assert holder.wait(timeout=60) == 0
    finally:
        for sweep_id, process in ((first, holder), (second, waiter)):
            workdir.call("sweep", "--cancel", sweep_id)
            process.wait(timeout=60)
    check_exclusive(workdir.uses())


# An agent whose waiting trials get the next free devices after 3 seconds instead of 60.
IMPATIENT = """
from smsweep.backends.local import waiting_jobs
waiting_jobs.PATIENCE_S = 3.0
from smsweep.cli.main import main
main()
"""


def test_trial_with_several_devices_does_not_wait_for_all_smaller_ones(tmp_path: Path) -> None:
    """Its sweep starts last. Each device that becomes free is wanted by the other two agents, too."""
    workdir = Devices(tmp_path, "0,1", {"resources_per_trial": {"gpus": 1}}, lasts_s=0.5, n_trials=60)
    small = workdir.sweep("--job", "job.yaml")
    (tmp_path / "job.yaml").write_text("resources_per_trial: {gpus: 2}")
    large = workdir.sweep("--job", "job.yaml")
    agents = [start_impatient(workdir, small) for _ in range(2)]
    try:
        until(lambda: len(workdir.uses()) >= 2)
        agents.append(start_impatient(workdir, large, "--count", "1"))
        assert agents[-1].wait(timeout=120) == 0
        assert workdir.trials(small)[-1]["state"] != "finished", "the small trials ended first"
    finally:
        for sweep_id in (small, large):
            workdir.call("sweep", "--cancel", sweep_id)
        for process in agents:
            process.wait(timeout=60)
    uses = workdir.uses()
    assert "0,1" in {use["CUDA_VISIBLE_DEVICES"] for use in uses}
    check_exclusive(uses)


def start_impatient(workdir: WorkingDir, sweep_id: str, *flags: str) -> subprocess.Popen[bytes]:
    return start_agent(workdir, sweep_id, *flags, command=(sys.executable, "-c", IMPATIENT), parallel=1)


CALL = """
import os, sys, time, smsweep
seen = []
def train():
    seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
    smsweep.log({"loss": smsweep.init().config.x, "device": int(os.environ["CUDA_VISIBLE_DEVICES"])})
    time.sleep(0.5)
config = {"method": "grid", "parameters": {"x": {"values": [1, 2]}}, "metric": {"name": "loss"}}
backend = "inline" if sys.argv[2:] else None
smsweep.run(config, function=train, gpus_per_trial=1, parallel=eval(sys.argv[1]), backend=backend)
print(*seen, os.environ.get("CUDA_VISIBLE_DEVICES"))
"""


def test_function_keeps_its_device_for_all_calls(tmp_path: Path) -> None:
    workdir = Devices(tmp_path, "5,6", {})
    done = workdir.call("1", command=(sys.executable, "-c", CALL))
    assert done.stdout.split("\n")[-2] == "5 5 None"


def test_functions_in_threads_cannot_have_devices_of_their_own(tmp_path: Path) -> None:
    workdir = Devices(tmp_path, "5,6", {})
    for parallel in ("2", "'auto'"):
        done = workdir.call(parallel, "threads", command=(sys.executable, "-c", CALL), code=1)
        assert "functions in threads of one process share its devices; use parallel=1" in done.stderr
    assert workdir.json("ls") == []


def test_function_in_processes_has_devices_of_its_own(tmp_path: Path) -> None:
    workdir = Devices(tmp_path, "5,6", {})
    workdir.call("2", command=(sys.executable, "-c", CALL))
    (sweep,) = workdir.json("ls")
    runs = [workdir.json("show", f"{sweep['id']}/{number}") for number in range(2)]
    assert sorted(run["metrics"]["device"] for run in runs) == [5, 6]


@pytest.mark.slow
def test_random_kills_of_agents_and_jobs_use_no_device_twice_and_leak_none(tmp_path: Path) -> None:
    rng = random.Random(20_261_202)
    workdir = Devices(tmp_path, "0,1,2", {"resources_per_trial": {"gpus": 1}}, lasts_s=0.4, n_trials=16)
    workdir.environ |= {"SMSWEEP_MAX_FAILED": "1000"}
    ids = [workdir.sweep("--job", "job.yaml") for _ in range(2)]
    agents = [start_agent(workdir, sweep_id) for sweep_id in ids]
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.2, 0.9))
        index = rng.randrange(len(ids))
        if rng.random() < 0.5:
            agents[index].kill()
            agents[index].wait()
            agents[index] = start_agent(workdir, ids[index])
        else:
            kill_random_entrypoint(tmp_path, rng)
    for index, sweep_id in enumerate(ids):
        agents[index].wait(timeout=120)
        workdir.call("agent", sweep_id, "--parallel", "3", code=agents_code(workdir, sweep_id))
    check_exclusive(workdir.uses())
    # No device leaked: a trial that needs all of them runs.
    last = Devices.__new__(Devices)
    last.folder, last.environ = workdir.folder, workdir.environ
    last.call("run", "sweep.yaml", "--gpus-per-trial", "3", "--count", "1", "--quiet")
    assert "0,1,2" in {use["CUDA_VISIBLE_DEVICES"] for use in workdir.uses()}


def agents_code(workdir: WorkingDir, sweep_id: str) -> int:
    """Return the exit code of a last agent: 0, since every trial has ended."""
    states = {trial["state"] for trial in workdir.trials(sweep_id)}
    assert states <= {"finished", "crashed"}, states
    return 0


def start_agent(
    workdir: WorkingDir,
    sweep_id: str,
    *flags: str,
    command: Sequence[str] = NEW_PYTHON,
    parallel: int = 3,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*command, "agent", sweep_id, f"--parallel={parallel}", "--quiet", *flags],
        cwd=workdir.folder,
        env=workdir.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_random_entrypoint(folder: Path, rng: random.Random) -> None:
    """Kill -9 the entrypoint of a running job. Its script runs on without it."""
    pids = []
    for file in sorted((folder / ".smsweep" / "jobs").glob("*/pid")):
        if not (file.parent / "exit_code").exists():
            with suppress(OSError, ValueError, psutil.Error):
                pid = int(file.read_text())
                if "fork_server" in " ".join(psutil.Process(pid).cmdline()):
                    pids.append(pid)
    if pids:
        with suppress(ProcessLookupError):
            os.kill(rng.choice(pids), signal.SIGKILL)


def why(workdir: WorkingDir, sweep_id: str) -> str:
    with workdir.start("why", f"{sweep_id}/0") as process:
        out, err = process.communicate(timeout=60)
    return " ".join((out + err).split())


def until(is_true: Any, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.1)
