"""A sweep as a SLURM job array, on a real cluster of one node."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smsweep.backends.registry import backend_spec
from smsweep.testing import BackendContract
from tests.support.working_dir import WorkingDir, grid
from tools.slurm import Slurm, run_slurm

pytestmark = pytest.mark.slow

# Counts to 40 and stores the count in its checkpoint; at SIGTERM, it saves the checkpoint first.
TRAIN = """
import os, pathlib, signal, sys, time, smsweep
run = smsweep.init()
kept = pathlib.Path(os.environ["SMSWEEP_ML_ROOT"], "checkpoints", "epoch")
done = int(kept.read_text()) if kept.exists() else 0
print("began at", done, flush=True)

def save(number, frame):
    kept.write_text(str(epoch))
    print("saved", epoch, flush=True)
    sys.exit(run.config.exit_code)

signal.signal(signal.SIGTERM, save)
here = pathlib.Path(run.config.here)
for epoch in range(done, 40):
    smsweep.log({"loss": 40 - epoch}, step=epoch)
    (here / "running").touch()
    while epoch == 3 and (here / "wait").exists():
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    with run_slurm() as cluster:
        yield cluster


@pytest.fixture
def workdir(tmp_path: Path, slurm: Slurm) -> WorkingDir:
    workdir = WorkingDir(tmp_path, {"train.py": TRAIN})
    workdir.environ |= slurm.environ
    return workdir


def submit(workdir: WorkingDir, n: int, exit_code: int = 0, *flags: str) -> tuple[str, str]:
    """Create a sweep of n trials, submit it to the cluster, and return the ids of the sweep and the job."""
    config = grid(x=list(range(n)), here=str(workdir.folder), exit_code=exit_code)
    (workdir.folder / "sweep.yaml").write_text(str(config).replace("'", '"'))
    sweep_id = workdir.sweep()
    options = [f"--option=output={workdir.folder}/slurm-%a.out", '--option=comment=it\'s "two" words # or so']
    return sweep_id, workdir.call("slurm", sweep_id, f"--array={n}", *options, *flags, "--submit").stdout.strip()


def until(is_true: Callable[[], bool], slurm: Slurm, workdir: WorkingDir) -> None:
    deadline = time.monotonic() + 150
    while not is_true():
        output = "".join(file.read_text() for file in workdir.folder.glob("slurm-*.out"))
        assert time.monotonic() < deadline, slurm.logs() + output
        time.sleep(0.2)


def test_job_array_runs_each_trial_once(workdir: WorkingDir, slurm: Slurm) -> None:
    sweep_id, job = submit(workdir, 3, 0, "--at-once", "2")
    until(lambda: not slurm.states(job), slurm, workdir)
    trials = workdir.trials(sweep_id)
    assert [(trial["state"], trial["attempt"]) for trial in trials] == [("finished", 0)] * 3


def assert_trial_continues(workdir: WorkingDir, slurm: Slurm, sweep_id: str, job: str) -> None:
    """Check that an interrupted task is requeued, and that its trial continues from its checkpoint."""
    until(lambda: slurm.states(job) == ["PENDING"], slurm, workdir)
    (interrupted,) = workdir.trials(sweep_id)
    assert (interrupted["state"], interrupted["attempt"]) == ("pending", 1)
    (workdir.folder / "wait").unlink()

    def is_over() -> bool:
        slurm.release(job)
        return not slurm.states(job)

    until(is_over, slurm, workdir)
    (ended,) = workdir.trials(sweep_id)
    assert (ended["state"], ended["attempt"], ended["retries"]) == ("finished", 1, {})
    assert "began at 3" in workdir.call("logs", f"{sweep_id}/0").stdout
    history = [
        line for line in workdir.call("logs", f"{sweep_id}/0", "--raw").stdout.splitlines() if "loss" in line
    ]
    assert len(history) == 37


def test_time_limit_signal_saves_checkpoint_and_requeues_job(workdir: WorkingDir, slurm: Slurm) -> None:
    (workdir.folder / "wait").touch()
    sweep_id, job = submit(workdir, 1, 0, "--option", "time=30", "--option", "signal=B:TERM@40")
    until((workdir.folder / "running").exists, slurm, workdir)
    # Not earlier: SLURM can send the signal a minute early, before the trial starts on a slow machine.
    slurm.call("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    assert_trial_continues(workdir, slurm, sweep_id, job)


@pytest.mark.parametrize("exit_code", [0, 1])
def test_preemption_saves_and_requeues(workdir: WorkingDir, slurm: Slurm, exit_code: int) -> None:
    """SLURM also signals the script. The exit of the script is then not the end of its trial."""
    (workdir.folder / "wait").touch()
    sweep_id, job = submit(workdir, 1, exit_code, "--option", "cpus-per-task=3", "--option", "time=30")
    until((workdir.folder / "running").exists, slurm, workdir)
    urgent = slurm.call(
        "sbatch", "--parsable", "--partition=high", "-c3", "--output=/dev/null", "--wrap=true"
    ).strip()
    until(lambda: not slurm.states(urgent), slurm, workdir)
    assert_trial_continues(workdir, slurm, sweep_id, job)


def write_sweep(workdir: WorkingDir, n: int) -> None:
    config = grid(x=list(range(n)), here=str(workdir.folder), exit_code=0)
    (workdir.folder / "sweep.yaml").write_text(str(config).replace("'", '"'))


def test_slurm_is_a_place_beside_this_machine(workdir: WorkingDir) -> None:
    write_sweep(workdir, 4)
    sweep_id = workdir.run("--on", "local:1", "--on", "slurm:2")
    trials = workdir.trials(sweep_id)
    assert [(trial["state"], trial["attempt"]) for trial in trials] == [("finished", 0)] * 4
    assert {trial["place_name"] for trial in trials} == {"local", "slurm"}
    on_slurm = next(trial for trial in trials if trial["place_name"] == "slurm")
    assert on_slurm["place"] == "slurm@tests"
    assert "began at 0" in workdir.call("logs", f"{sweep_id}/{on_slurm['number']}").stdout
    assert "local was full (1 of 1)" in workdir.call("why", f"{sweep_id}/{on_slurm['number']}").stdout


def test_killed_agent_finds_its_slurm_jobs(workdir: WorkingDir, slurm: Slurm) -> None:
    (workdir.folder / "wait").touch()
    write_sweep(workdir, 2)
    sweep_id = workdir.sweep()
    with workdir.start("agent", sweep_id, "--on", "slurm:2") as agent:
        until((workdir.folder / "running").exists, slurm, workdir)
        agent.kill()
    (workdir.folder / "wait").unlink()
    workdir.call("agent", sweep_id, "--on", "slurm:2")
    trials = workdir.trials(sweep_id)
    assert [(trial["state"], trial["attempt"]) for trial in trials] == [("finished", 0)] * 2
    jobs = workdir.folder / ".smsweep" / "jobs"
    assert [(jobs / trial["job_name"] / "output.log").read_text().count("began at") for trial in trials] == [1, 1]


def test_killed_trial_ends_its_slurm_job(workdir: WorkingDir, slurm: Slurm) -> None:
    (workdir.folder / "wait").touch()
    write_sweep(workdir, 1)
    sweep_id = workdir.sweep()
    with workdir.start("agent", sweep_id, "--on", "slurm") as agent:
        until((workdir.folder / "running").exists, slurm, workdir)
        workdir.call("sweep", "--cancel", sweep_id)
    assert agent.returncode == 0
    (trial,) = workdir.trials(sweep_id)
    assert trial["state"] == "killed"
    assert "saved 3" in workdir.call("logs", f"{sweep_id}/0").stdout
    until(lambda: trial["job_name"] not in slurm.call("squeue", "--noheader", "--format=%j"), slurm, workdir)


def test_slurm_job_cancelled_by_another_user_is_retried(workdir: WorkingDir, slurm: Slurm) -> None:
    (workdir.folder / "wait").touch()
    write_sweep(workdir, 1)
    sweep_id = workdir.sweep()
    with workdir.start("agent", sweep_id, "--on", "slurm") as agent:
        until((workdir.folder / "running").exists, slurm, workdir)
        slurm.call("scancel", f"--name=smsweep-{sweep_id}-0-0", "--signal=KILL", "--full")
        (workdir.folder / "wait").unlink()
    assert agent.returncode == 0
    (trial,) = workdir.trials(sweep_id)
    assert (trial["state"], trial["attempt"], trial["retries"]) == ("finished", 1, {"crashed": 1})


def test_bad_option_of_sbatch_fails_before_the_first_job(workdir: WorkingDir) -> None:
    (workdir.folder / "job.yaml").write_text("sbatch: {partition: nosuch}\n")
    write_sweep(workdir, 1)
    done = workdir.call("run", "sweep.yaml", "--on", "slurm", "--job", "job.yaml", code=3)
    assert "sbatch: error" in done.stderr
    assert "change sbatch in job.yaml" in done.stderr


class TestContract(BackendContract):
    """The contract that each backend passes."""

    spec = backend_spec("slurm")

    @pytest.fixture(autouse=True)
    def _cluster(self, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "environ", slurm.environ)


def test_resources_per_trial_are_those_of_the_slurm_job(workdir: WorkingDir, slurm: Slurm) -> None:
    """SLURM itself reports what the job has."""
    job = {"resources_per_trial": {"gpus": 1, "cpus": 2, "memory": "300m"}}
    script = """
import os, subprocess, smsweep
smsweep.init()
described = subprocess.check_output(["scontrol", "show", "job", os.environ["SLURM_JOB_ID"]], text=True)
print(*(field for field in described.split() if field.startswith(("CPUs/Task=", "MinMemoryNode=", "TresPerJob="))))
print(*(f"{name}={os.environ.get(name)}" for name in ("SLURM_GPUS_ON_NODE", "SM_NUM_GPUS", "SM_NUM_CPUS")))
smsweep.log({"loss": 1.0})
"""
    (workdir.folder / "train.py").write_text(script)
    (workdir.folder / "job.yaml").write_text(json.dumps(job))
    write_sweep(workdir, 1)
    sweep_id = workdir.run("--on", "slurm", "--job", "job.yaml")
    lines = workdir.call("logs", f"{sweep_id}/0").stdout.splitlines()
    assert [line for line in lines if "=" in line] == [
        "CPUs/Task=2 MinMemoryNode=300M TresPerJob=gres:gpu:1",
        "SLURM_GPUS_ON_NODE=1 SM_NUM_GPUS=1 SM_NUM_CPUS=2",
    ]


def test_slurm_jobs_wait_for_a_free_gpu(workdir: WorkingDir, slurm: Slurm) -> None:
    """Two of three trials with a GPU fit the node, whatever the number of slots."""
    (workdir.folder / "wait").touch()
    (workdir.folder / "job.yaml").write_text("resources_per_trial: {gpus: 1}\n")
    write_sweep(workdir, 3)
    sweep_id = workdir.sweep("--job", "job.yaml")

    def states() -> list[str]:
        listed = slurm.call("squeue", "--noheader", "--format=%j %T").splitlines()
        return sorted(state for name, state in map(str.split, listed) if sweep_id in name)

    with workdir.start("agent", sweep_id, "--on", "slurm:3") as agent:
        until(lambda: states() == ["PENDING", "RUNNING", "RUNNING"], slurm, workdir)
        (workdir.folder / "wait").unlink()
    assert agent.returncode == 0
    assert {trial["state"] for trial in workdir.trials(sweep_id)} == {"finished"}


def test_resources_that_no_node_has_fail_before_the_first_job(workdir: WorkingDir) -> None:
    (workdir.folder / "job.yaml").write_text("resources_per_trial: {gpus: 3}\n")
    write_sweep(workdir, 1)
    done = workdir.call("run", "sweep.yaml", "--on", "slurm", "--job", "job.yaml", code=3)
    assert "sbatch: error" in done.stderr
