"""Boundary from trial to agent: the files and the output of a script affect its own trial only."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from smsweep.backends.local.job_files import DamagedFile
from smsweep.backends.local.job_folder import JobFolder
from smsweep.backends.process.fork_client import signal_job
from smsweep.errors import JobRejected
from tests.support.jobs import Jobs
from tests.support.working_dir import WorkingDir, grid
from tools.docker_engine import IMAGE

HOSTILE = """
import json, os, pathlib, shutil, signal, smsweep, sys, time
run = smsweep.init()
job = pathlib.Path(os.environ["SMSWEEP_ML_ROOT"]).parent
with open(f"{run.config.here}/runs", "a") as runs:
    runs.write(run.config.kind + "\\n")
smsweep.log({"loss": 1})

def parent(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

def instead(name, make):
    path, draft = job / name, job / "draft"
    make(draft)
    if draft.is_dir() or not os.path.lexists(draft):
        path.unlink(missing_ok=True)
    if os.path.lexists(draft):
        os.replace(draft, path)  # whole at once: the agent may read it at any moment

def wait():
    time.sleep(120)

def drafts_taken():
    for name in ("stop.json", "exit_code", "uptime", "pid", "ml/output/failure"):
        os.mkfifo(job / f"{name}.part")
        os.mkfifo(job / f"{name}.{os.getppid()}.part")

def failure_pipe():
    os.mkfifo(job / "ml/output/failure")
    raise ValueError("its own words")

acts = {
    "honest": lambda: None,
    "stop is garbage": lambda: (instead("stop.json", lambda path: path.write_text("{")), wait()),
    "stop has an unknown origin": lambda: (
        instead("stop.json", lambda path: path.write_text('{"by": ["nobody"], "kill_at_s": 1.0}')), wait()),
    "stop has no time": lambda: (
        instead("stop.json", lambda path: path.write_text('{"by": "person", "kill_at_s": NaN}')), wait()),
    "stop is a folder": lambda: (instead("stop.json", os.mkdir), wait()),
    "stop is a pipe": lambda: (instead("stop.json", os.mkfifo), wait()),
    "stop is endless": lambda: (instead("stop.json", lambda path: path.symlink_to("/dev/zero")), wait()),
    "exit_code is a folder": lambda: instead("exit_code", os.mkdir),
    "exit_code is text": lambda: (
        instead("exit_code", lambda path: path.write_text("none")), os.kill(os.getppid(), signal.SIGKILL)),
    "exit_code is huge": lambda: (
        instead("exit_code", lambda path: path.write_text("9" * 10_000)), os.kill(os.getppid(), signal.SIGKILL)),
    "output.log is a folder": lambda: (instead("output.log", os.mkdir), wait()),
    "output.log is a pipe": lambda: (instead("output.log", os.mkfifo), wait()),
    "output.log is a link": lambda: (instead("output.log", lambda path: path.symlink_to("/etc/passwd")), wait()),
    "pid is a bystander": lambda: (
        instead("pid", lambda path: path.write_text(str(run.config.bystander))), wait()),
    "pid is text": lambda: (instead("pid", lambda path: path.write_text("1x")), wait()),
    "pid is the agent": lambda: (
        instead("pid", lambda path: path.write_text(str(parent(parent(os.getppid()))))), wait()),
    "pid is missing": lambda: instead("pid", lambda path: None),
    "lock is a pipe": lambda: (instead("lock", os.mkfifo), wait()),
    "the folder is gone": lambda: (shutil.rmtree(job), wait()),
    "the folder is a file": lambda: (shutil.rmtree(job), job.write_text(""), wait()),
    "exit_code is of no process": lambda: (
        instead("exit_code", lambda path: path.write_text("9" * 19)), os.kill(os.getppid(), signal.SIGKILL)),
    "stop is large": lambda: (
        instead("stop.json", lambda path: path.write_text(json.dumps({"by": "person", "x": "x" * 1_000_000}))),
        wait()),
    "uptime is endless": lambda: instead("uptime", lambda path: path.write_text(
        json.dumps([json.loads((job / "uptime").read_text())[0], 1e308]))),
    "uptime is garbage": lambda: instead("uptime", lambda path: path.write_text("[1e999, {}]")),
    "drafts are taken": drafts_taken,
    "failure is a pipe": failure_pipe,
}
acts[run.config.kind]()
"""
FAILS = {  # action of the script -> reason of the trial
    "stop is garbage": "stop.json is not a JSON object",
    "stop has an unknown origin": "stop.json is not an order to stop",
    "stop has no time": "stop.json is not an order to stop",
    "stop is a folder": "stop.json is a folder",
    "stop is a pipe": "stop.json is not a regular file",
    "stop is endless": "stop.json is a symbolic link",
    "exit_code is a folder": "exit_code is a folder",
    "exit_code is text": "exit_code is not an exit code",
    "exit_code is huge": "exit_code is larger than",
    "exit_code is of no process": "exit_code is not an exit code",
    "stop is large": "stop.json is larger than",
    "output.log is a folder": "output.log is a folder",
    "output.log is a pipe": "output.log is not a regular file",
    "output.log is a link": "output.log is a symbolic link",
    "pid is a bystander": "pid is not the number of the job's process",
    "pid is text": "pid is not the number of the job's process",
    "pid is the agent": "pid is not the number of the job's process",
    "pid is missing": "pid is missing",
    "lock is a pipe": "lock is not a regular file",
    "the folder is gone": "pid is missing",
    "the folder is a file": "its job folder is damaged",
    "failure is a pipe": "its own words",
}
HARMLESS = ("honest", "uptime is garbage", "uptime is endless", "drafts are taken")


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> WorkingDir:
    """An agent that ran one script per attack, with normal scripts before and after them."""
    folder = tmp_path_factory.mktemp("attacked")
    kinds = ["honest", *FAILS, *HARMLESS[1:]]
    job = {"max_run": 15, "retries": {"crashed": 0}}  # max_run stops jobs with a false `pid` file
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as bystander:
        config = grid(kind=kinds, here=str(folder), bystander=bystander.pid)
        workdir = WorkingDir(folder, {"train.py": HOSTILE, "sweep.yaml": config, "job.yaml": job})
        ended = workdir.call(
            "run", "sweep.yaml", "--job", "job.yaml", "--parallel", "8", "--term-timeout", "2", "--quiet",
            environ={"WANDB_AGENT_DISABLE_FLAPPING": "true"},
        )  # fmt: skip
        assert bystander.poll() is None
        bystander.kill()
    assert "Traceback" not in ended.stderr
    (folder / "id").write_text(ended.stdout.strip())
    return workdir


def trial_of(workdir: WorkingDir, kind: str) -> dict[str, Any]:
    (found,) = [
        trial for trial in workdir.trials((workdir.folder / "id").read_text()) if trial["params"]["kind"] == kind
    ]
    return found


@pytest.mark.parametrize("kind", FAILS)
def test_script_that_damages_its_job_folder_fails_its_trial(attacked: WorkingDir, kind: str) -> None:
    trial = trial_of(attacked, kind)
    assert (trial["state"], trial["attempt"]) == ("failed", 0)
    assert FAILS[kind] in trial["reason"]
    assert (attacked.folder / "runs").read_text().splitlines().count(kind) == 1, "the trial ran again"


@pytest.mark.parametrize("kind", HARMLESS)
def test_other_trials_of_the_agent_finish(attacked: WorkingDir, kind: str) -> None:
    trial = trial_of(attacked, kind)
    assert (trial["state"], trial["objective"]) == ("finished", 1)


@pytest.mark.parametrize("text", ["-1", "0", "1", "", "-15", "1 2", "9" * 19])
def test_pid_of_another_process_is_never_signalled(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    signalled: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: signalled.append(pid))  # no real signal is sent
    (tmp_path / "pid").write_text(text)
    with contextlib.suppress(DamagedFile):
        signal_job(JobFolder(tmp_path), signal.SIGTERM)
    assert signalled == []


LINES = """
import smsweep, sys
run = smsweep.init()
out = sys.stdout.buffer
out.write({
    "honest": b"",
    "letters": b"a " * (1 << 19),
    "blanks": b" " * (1 << 20),
    "names without values": b"loss=" * 200_000,
    "digits": b"1" * (1 << 20),
    "states of a progress bar": b"1\\r" * (1 << 19),
    "endless markup": b"\\x1b]" * (1 << 19),
    "half of an escape": b"\\x1b[" + b"0" * (1 << 20),
    "beginnings of records": b"@smsweep " * 100_000,
    "deep records": (b'@smsweep {"metrics": ' + b"[" * 4_000) * 250,
    "records of nonsense": b'@smsweep {"step": 1e999, "time": "x", "metrics": {"a": [], "b": "\\\\ud8"}}\\n' * 99,
    "no text": b"\\x00\\xff\\xfe" * 300_000,
    "letters of other languages": "é٣ß ".encode() * 150_000,
    "beginnings of tokens": b"-eyJ" * (1 << 18),
    "lines of one letter": b"x\\n" * (1 << 19),
    "values": b"loss=9;" * 2_000 + b"\\n" + b"loss=9;\\n" * 2_000,
}[run.config.kind])
out.write(b"\\nloss=0.5;\\n")
"""
KINDS = [
    *("letters", "blanks", "names without values", "digits", "states of a progress bar", "endless markup"),
    *("half of an escape", "beginnings of records", "deep records", "records of nonsense", "no text"),
    *("letters of other languages", "beginnings of tokens", "lines of one letter", "values", "honest"),
]
REGEXES = {
    "loss": r"loss=([0-9.]+);",
    "letters": r"[\w ]*loss=([0-9.]+)",
    "blanks": r"\s*loss: ([0-9.]+)",
    "anything": r"(.*?)loss=(.*?);",
    "digits": r"([0-9]+)+;",
    "rest": r"([0-9])(?:.*x)?;",
}


@pytest.fixture(scope="module")
def flooded(tmp_path_factory: pytest.TempPathFactory) -> WorkingDir:
    """An agent that has read a megabyte of each kind of hostile lines."""
    folder = tmp_path_factory.mktemp("flooded")
    job = {"metric_definitions": [{"Name": name, "Regex": regex} for name, regex in REGEXES.items()]}
    workdir = WorkingDir(folder, {"train.py": LINES, "sweep.yaml": grid(kind=KINDS), "job.yaml": job})
    ended = workdir.call("run", "sweep.yaml", "--job", "job.yaml", "--parallel", "4", "--quiet")
    assert "Traceback" not in ended.stderr
    (folder / "id").write_text(ended.stdout.strip())
    return workdir


@pytest.mark.parametrize("kind", KINDS)
def test_metric_after_a_megabyte_of_hostile_lines_is_read(flooded: WorkingDir, kind: str) -> None:
    trial = trial_of(flooded, kind)
    assert (trial["state"], trial["objective"]) == ("finished", 0.5)
    shown = flooded.call("logs", f"{(flooded.folder / 'id').read_text()}/{trial['number']}")
    assert shown.stdout.endswith("loss=0.5;\n")


@pytest.fixture
def containers(docker_engine: object, tmp_path: Path) -> Iterator[Jobs]:
    with closing(Jobs(folder=tmp_path, kind="docker", image=IMAGE)) as jobs:
        yield jobs


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Jobs]:
    with closing(Jobs(folder=tmp_path, kind="process")) as jobs:
        yield jobs


def instead(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink(missing_ok=True)
    make(path)


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff{")


def other(path: Path) -> None:
    path.write_text('{"TrainingJobName": "another", "by": "person", "kill_at_s": "soon"}')


DAMAGE = [
    *[
        (name, make)
        for name in ("request.json", "stop.json", "ended.json")
        for make in (garbage, other, os.mkfifo)
    ],
    *[("output.log", make) for make in (os.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/passwd"))],
    *[("verdict.json", make) for make in (garbage, os.mkdir)],
    *[("status.json", make) for make in (garbage, os.mkfifo)],
    ("lock", os.mkdir),
]


def start_two(jobs: Jobs, seconds: int) -> tuple[str, str]:
    """Start a job to damage, and a job that ends by itself. Return their names when both run."""
    script = "import time; print('ready', flush=True); time.sleep({})"
    names = jobs.start("broken", script.format(120)), jobs.start("whole", script.format(seconds))
    for name in names:
        jobs.until_says(name, "ready")
    return names


@pytest.mark.docker
@pytest.mark.parametrize(("name", "make"), DAMAGE)
def test_container_with_damaged_job_folder_fails_alone(
    containers: Jobs, name: str, make: Callable[[Path], object]
) -> None:
    broken, whole = start_two(containers, 3)
    containers.backend.close()  # like an agent that exits
    instead(containers.folder / "jobs" / broken / name, make)
    next_agent = containers.another()
    assert containers.finish(whole, next_agent).status.status == "Completed"
    done = containers.finish(broken, next_agent)
    assert done.status.status == "Failed"
    assert f"{name} is " in done.status.failure_reason
    next_agent.stop(broken)
    with closing(DockerClient()) as engine:
        assert not engine.containers.list(all=True, filters={"name": broken})


@pytest.mark.docker
def test_container_that_links_its_output_folder_reads_no_host_files(containers: Jobs, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    (private / "failure").write_text("a secret of this machine")
    script = f"""
import os, shutil
shutil.rmtree("/opt/ml/output")
os.symlink({str(private)!r}, "/opt/ml/output")
os.kill(os.getppid(), 9)
"""
    reason = containers.run("link", script).status.failure_reason
    assert "secret" not in reason


@pytest.mark.parametrize("make", [garbage, other, os.mkdir, os.mkfifo])
def test_process_with_damaged_request_fails_alone(processes: Jobs, make: Callable[[Path], object]) -> None:
    broken, whole = start_two(processes, 2)
    instead(processes.folder / "jobs" / broken / "request.json", make)
    next_agent = processes.another()
    assert processes.finish(whole, next_agent).status.status == "Completed"
    done = processes.finish(broken, next_agent)
    assert "request.json is " in done.status.failure_reason


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.write_text("")], ids=["pipe", "file"])
def test_job_is_refused_when_another_script_has_created_its_folder(
    processes: Jobs, make: Callable[[Path], object]
) -> None:
    (processes.folder / "jobs").mkdir()
    make(processes.folder / "jobs" / processes.name("taken"))
    with pytest.raises(JobRejected, match="cannot start job"):
        processes.start("taken", "print('ran')")


@pytest.mark.parametrize("name", ["lock", "output.log"])
def test_job_is_refused_when_its_folder_has_a_pipe(processes: Jobs, name: str) -> None:
    request = processes.request("piped", "print('ran')")
    folder = processes.folder / "jobs" / request["TrainingJobName"]
    folder.mkdir(parents=True)
    os.mkfifo(folder / name)
    with pytest.raises(JobRejected, match=f"{name} was not written by smsweep"):
        processes.backend.submit(request)


def test_recover_skips_a_job_with_a_damaged_request(tmp_path: Path) -> None:
    workdir = WorkingDir(
        tmp_path, {"train.py": "import smsweep\nsmsweep.log({'loss': 1})", "sweep.yaml": grid(x=[1, 2])}
    )
    sweep_id = workdir.run()
    for file in tmp_path.glob(".smsweep/store.db*"):
        file.unlink()
    instead(tmp_path / f".smsweep/jobs/smsweep-{sweep_id}-0-0/request.json", os.mkfifo)
    ended = workdir.call("recover", sweep_id, "sweep.yaml")
    assert f"smsweep-{sweep_id}-0-0 is skipped: its job folder is damaged" in ended.stderr
    assert "found the jobs of 1 trial" in ended.stderr
    assert [trial["number"] for trial in workdir.trials(sweep_id)] == [1]


def test_commands_end_on_a_damaged_job_folder(tmp_path: Path) -> None:
    workdir = WorkingDir(
        tmp_path, {"train.py": "import smsweep\nsmsweep.log({'loss': 1})", "sweep.yaml": grid(x=[1, 2])}
    )
    sweep_id = workdir.run()
    job = tmp_path / f".smsweep/jobs/smsweep-{sweep_id}-0-0"
    for name in ("request.json", "output.log", "lock", "ml/output/failure"):
        instead(job / name, os.mkfifo)
    assert "output.log is not a regular file" in workdir.call("logs", f"{sweep_id}/0").stderr
    workdir.call("diff", f"{sweep_id}/0", f"{sweep_id}/1")
    workdir.call("why", f"{sweep_id}/0")
    workdir.call("rm", "-y", f"{sweep_id}/0")
    assert not job.exists()


@pytest.mark.parametrize("seconds", [1e18, 1e300, 250_000_000_000.0])
def test_date_out_of_range_is_a_damaged_file(
    tmp_path: Path, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pid").write_text("1")

    known = os.fstat

    def dated(fd: int) -> os.stat_result:
        found = known(fd)
        return os.stat_result((*found[:8], seconds, found[9]), {"st_mtime": seconds})

    monkeypatch.setattr(os, "fstat", dated)  # as on a file system with dates of 64 bits
    with pytest.raises(DamagedFile, match="pid is dated outside the valid range"):
        JobFolder(tmp_path).started_at()
