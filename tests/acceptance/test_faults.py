"""Faults of docs/faults.md with the complete program: real store, real processes, real files."""

from __future__ import annotations

import json
import os
import pty
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from smsweep.core.trial import TrialState
from tests.support.agent_kit import Kit, logged
from tests.support.scripted_backend import Plot, ScriptedBackend
from tests.support.walkthrough import NEW_PYTHON
from tests.support.working_dir import TIMEOUT_S, WorkingDir, grid

CANARY = "4f1c9d2e7ab8530c6f1e9d2b7ac85430d6f1c9e2"  # format of a W&B key
WAITING = """
import os, signal, smsweep, time
run = smsweep.init()
signal.signal(signal.SIGINT, lambda *_: open(f"{run.config.here}/interrupted", "w").close())
smsweep.log({"loss": run.config.x})
print("at work", flush=True)
while os.path.exists(f"{run.config.here}/wait"):
    time.sleep(0.02)
"""


@pytest.fixture
def waiting(tmp_path: Path) -> WorkingDir:
    """A sweep of two trials that run until the file `wait` is removed."""
    (tmp_path / "wait").touch()
    return WorkingDir(tmp_path, {"train.py": WAITING, "sweep.yaml": grid(x=[1, 2], here=str(tmp_path))})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MB. Only root can create it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def wait_for(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def is_at_work(workdir: WorkingDir) -> bool:
    return any("at work" in log.read_text() for log in workdir.folder.glob(".smsweep/jobs/*/output.log"))


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    assert any(text in line for line in process.stderr), f"the output has no {text!r}"


# 7, 8: the store


def test_agent_waits_for_locked_store(waiting: WorkingDir) -> None:
    environ = {"SMSWEEP_STORE": f"sqlite:///{waiting.folder}/store.db?timeout=0.01"}
    with waiting.start("run", "sweep.yaml", environ=environ) as agent:
        wait_for(lambda: is_at_work(waiting))
        with closing(sqlite3.connect(waiting.folder / "store.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            (waiting.folder / "wait").unlink()
            read_until(agent, "another process keeps it locked")
        out, _ = agent.communicate(timeout=TIMEOUT_S)
    shown = json.loads(waiting.call("show", out.strip(), "--json", environ=environ).stdout)
    assert (agent.returncode, shown["trials"]) == (0, {"finished": 2})


def test_full_disk_of_store_stops_no_job_and_loses_no_data(waiting: WorkingDir, small_disk: Path) -> None:
    environ = {"SMSWEEP_STORE": f"sqlite:///{small_disk}/store.db"}
    with waiting.start("run", "sweep.yaml", environ=environ) as agent:
        wait_for(lambda: is_at_work(waiting))
        fill(small_disk / "filler")
        (waiting.folder / "wait").unlink()
        read_until(agent, "the disk is full")
        (small_disk / "filler").unlink()
        out, err = agent.communicate(timeout=TIMEOUT_S)
    trials = json.loads(waiting.call("trials", out.strip(), "--json", environ=environ).stdout)
    assert [(t["state"], t["attempt"], t["objective"]) for t in trials] == [("finished", 0, 1), ("finished", 0, 2)]
    assert "the disk is full" not in err, "the same error was printed twice"


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as filler:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while filler.write(b"x" * size):
                    pass
            except OSError:
                continue


def test_damaged_store_is_reported_and_running_job_continues(waiting: WorkingDir) -> None:
    sweep_id = waiting.sweep()
    with waiting.start("agent", sweep_id) as agent:
        wait_for(lambda: is_at_work(waiting))
        agent.kill()
    for file in waiting.folder.glob(".smsweep/store.db*"):
        file.write_bytes(os.urandom(file.stat().st_size))
    ended = waiting.call("agent", sweep_id, code=1)
    assert "store.db: it is not an SQLite database" in ended.stderr
    (waiting.folder / "wait").unlink()
    (job,) = waiting.folder.glob(".smsweep/jobs/*")
    wait_for((job / "exit_code").exists)
    assert (job / "exit_code").read_text() == "0"


# 18, 19: metrics


def test_unusual_metrics_fail_at_most_their_trial(tmp_path: Path) -> None:
    script = """
import smsweep
run = smsweep.init()
values = {"good": [2.0, 1.0], "nan": [float("nan")], "inf": [float("inf")], "mixed": [float("nan"), 3.0],
          "text": ["n/a"], "none": [None], "bool": [True], "misspelt": []}[run.config.kind]
for value in values:
    smsweep.log({"loss": value})
smsweep.log({"losss": 1})
"""
    kinds = ["good", "nan", "inf", "mixed", "text", "none", "bool", "misspelt"]
    workdir = WorkingDir(tmp_path, {"train.py": script, "sweep.yaml": grid(kind=kinds)})
    trials = workdir.trials(workdir.run())
    assert {t["params"]["kind"]: (t["state"], t["metrics"].get("loss"), t["objective"]) for t in trials} == {
        "good": ("finished", 1.0, 1.0),
        "nan": ("finished", "NaN", None),
        "inf": ("finished", "Infinity", None),
        "mixed": ("finished", 3.0, 3.0),
        "text": ("finished", "n/a", None),
        "none": ("finished", None, None),
        "bool": ("finished", True, None),
        "misspelt": ("failed", None, None),
    }
    assert trials[-1]["reason"] == "it ended without ever reporting the sweep's metric 'loss'; it reported losss"


# 23: clocks


@pytest.mark.parametrize("jump_s", [-3600, 3600])
def test_clock_jump_loses_no_trial(tmp_path: Path, jump_s: float) -> None:
    kit = Kit(tmp_path, grid(x=[1, 2, 3]))
    kit.on_sleep = lambda: kit.advance(jump_s if kit.slept == 3 else 0)
    backend = ScriptedBackend(lambda _: Plot(pages=[[], [logged(0, loss=1)], []]))
    kit.agent(backend, parallel=2).run()
    assert [(trial.state, trial.attempt) for trial in kit.trials()] == [(TrialState.FINISHED, 0)] * 3
    assert len(backend.submitted) == 3


# 28: Ctrl-C


def test_ctrl_c_on_terminal_reaches_agent_and_no_script(waiting: WorkingDir) -> None:
    sweep_id = waiting.sweep()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(waiting.folder)
        os.execve(NEW_PYTHON[0], [*NEW_PYTHON, "agent", sweep_id], waiting.environ | {"TERM": "dumb"})
    wait_for(lambda: is_at_work(waiting))
    os.write(terminal, b"\x03")
    shown = b""
    while b"Ctrl-C again stops them" not in shown:
        shown += os.read(terminal, 1024)
    (waiting.folder / "wait").unlink()
    while part := read_terminal(terminal):
        shown += part
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert [trial["state"] for trial in waiting.trials(sweep_id)] == ["finished"]
    assert not (waiting.folder / "interrupted").exists()


def read_terminal(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1024)
    except OSError:  # the terminal is closed
        return b""


# 29, 30: hostile YAML


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        ("method: grid\nmethod: random\nparameters: {x: {value: 1}}\n", "sweep.yaml:2: method: occurs twice"),
        ("a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        ), "more than 100,000 values"),
        ("method: " + "[" * 5000, "nested deeper than 64 levels"),
        ("#" * 2_000_000, "larger than 1,048,576 bytes"),
        ("method: grid\n\tx: 1\n", "sweep.yaml:2: a tab cannot"),
        ("method: \xff\xfe", "sweep.yaml:"),
        ("method: !!python/object/apply:os.system ['touch pwned']\n", "the tag !!python/object/apply:os.system"),
        ("method: !!python/name:os.system\nparameters: {x: {value: 1}}\n", "the tag !!python/name:os.system"),
    ],
    ids=["twice", "alias bomb", "deep", "huge", "tab", "strange", "python object", "python name"],
)  # fmt: skip
def test_hostile_config_is_refused_before_any_file_is_created(tmp_path: Path, yaml: str, says: str) -> None:
    workdir = WorkingDir(tmp_path, {"train.py": "", "sweep.yaml": yaml})
    assert says in workdir.call("run", "sweep.yaml", code=2).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sweep.yaml", "train.py"]


# 32: no shell


def test_params_with_shell_syntax_reach_script_unchanged(tmp_path: Path) -> None:
    hostile = [
        "; touch pwned", "$(touch pwned)", "`touch pwned`", "| touch pwned", "&& touch pwned", "> pwned",
        "${PATH} $HOME %PATH%", "it's \"quoted\"", "two\nlines", "*", "~", "--flag", "", " ",
        "back\\slash", "é 😀",
    ]  # fmt: skip
    script = "import json, smsweep, sys\nprint(json.dumps(sys.argv[1:]))\nsmsweep.log({'loss': 1})"
    program = "train; touch pwned.py"
    workdir = WorkingDir(tmp_path, {program: script, "sweep.yaml": grid(text=hostile) | {"program": program}})
    sweep_id = workdir.run()
    planned = workdir.json("plan", "sweep.yaml", "--n", "100")["trials"]
    for trial, text in zip(workdir.trials(sweep_id), hostile, strict=True):
        assert json.loads(workdir.folder.joinpath(log_of(trial)).read_text().splitlines()[0]) == [f"--text={text}"]
        assert planned[trial["number"]]["argv"][-1] == f"--text={text}"
    assert not list(tmp_path.rglob("pwned"))


def test_params_too_long_for_command_line_fail_trial_with_fix(tmp_path: Path) -> None:
    script = "import smsweep\nsmsweep.log({'loss': len(smsweep.init().config.text)})"
    workdir = WorkingDir(tmp_path, {"train.py": script, "sweep.yaml": grid(text=["x" * 200_000, "short"])})
    long, short = workdir.trials(workdir.run())
    assert (long["state"], short["state"]) == ("failed", "finished")
    assert (
        "its arguments are too long for this system; pass ${args_json_file} in the sweep's command"
        in long["reason"]
    )
    config = {**grid(text=["x" * 200_000]), "command": ["${env}", "${interpreter}", "${program}"]}
    (tmp_path / "sweep.yaml").write_text(json.dumps(config))
    assert workdir.trials(workdir.run())[0]["objective"] == 200_000


def log_of(trial: dict[str, Any]) -> str:
    return f".smsweep/jobs/{trial['job_name']}/output.log"


# 34: secrets


def test_secret_in_source_stops_sweep_and_is_not_printed(tmp_path: Path) -> None:
    workdir = WorkingDir(tmp_path, {"train.py": f"WANDB_API_KEY = '{CANARY}'\n", "sweep.yaml": grid(None, x=1)})
    refused = workdir.call("sweep", "sweep.yaml", code=2, environ={"SMSWEEP_BACKEND": "sagemaker"})
    assert "train.py:1: WANDB_API_KEY = ***: looks like a W&B API key" in refused.stderr
    assert CANARY not in refused.stderr + refused.stdout
    assert workdir.json("ls") == []


def test_environment_secret_is_not_written_to_any_file(tmp_path: Path) -> None:
    workdir = WorkingDir(
        tmp_path, {"train.py": "import smsweep\nsmsweep.init()\nprint('done')", "sweep.yaml": grid(None, x=1)}
    )
    ended = workdir.call(
        "run", "sweep.yaml", "--verbose", "--verbose", environ={"WANDB_API_KEY": CANARY, "MY_TOKEN": CANARY}
    )
    assert CANARY not in ended.stdout + ended.stderr
    files = [path for path in (tmp_path / ".smsweep").rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [file for file in files if CANARY.encode() in file.read_bytes()]


TELLTALE = """
import os, smsweep
secret = os.environ["PAYROLL"]
smsweep.log({"loss": 1, "told": "it is " + secret})
smsweep.active_run().summary["too"] = secret
print("loss_key", secret)
raise ValueError("cannot log in with " + secret)
"""


def test_secret_printed_by_script_is_masked_in_all_output_and_files(tmp_path: Path) -> None:
    job = {"secrets": {"PAYROLL": "env:MINE"}}
    workdir = WorkingDir(tmp_path, {"train.py": TELLTALE, "sweep.yaml": grid(x=1), "job.yaml": job})
    workdir.environ |= {"MINE": CANARY, "SORT_KEY": "loss_key"}
    ran = workdir.call("run", "sweep.yaml", "--job", "job.yaml", code=3)
    sweep_id = ran.stdout.strip()
    output = ran.stderr + "".join(
        workdir.call(*words).stdout
        for words in (
            ("logs", f"{sweep_id}/0"),
            ("logs", f"{sweep_id}/0", "--json", "--raw"),
            ("trials", sweep_id, "--json"),
            ("show", f"{sweep_id}/0", "--json"),
            ("export", sweep_id),
        )
    )
    assert CANARY not in output
    for shown in ("cannot log in with ***", "loss_key ***", '"it is ***"', '"too": "***"'):
        assert shown in output
    stored = b"".join(file.read_bytes() for file in tmp_path.glob(".smsweep/store.db*"))
    assert (CANARY.encode() in stored, b"cannot log in with ***" in stored) == (False, True)
    (log,) = tmp_path.glob(".smsweep/jobs/*/output.log")
    assert CANARY not in log.read_text(), "a later reader of the log does not know the secrets"


# 36: logs


def watch_memory(process: subprocess.Popen[str]) -> int:
    """Wait for the process, and return the highest memory that was sampled, in kB.

    ru_maxrss is not usable: on Linux, it starts with the size of the parent process, which is pytest.
    """
    peak_kb = 0
    while process.poll() is None:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        peak_kb = max([peak_kb, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))])
        time.sleep(0.02)
    return peak_kb


def test_binary_log_with_endless_line_is_read_in_bounded_memory(tmp_path: Path) -> None:
    script = """
import smsweep, sys
smsweep.log({"loss": 3})
out = sys.stdout.buffer
out.write(b"\\xff\\xfe\\x00 not UTF-8 \\xf0\\x9f\\x98\\x80\\n")
for _ in range(100):
    out.write(b"x" * 1_000_000)
out.flush()
smsweep.log({"loss": 2})
print("the end")
"""
    workdir = WorkingDir(tmp_path, {"train.py": script, "sweep.yaml": grid(x=1)})
    with workdir.start("run", "sweep.yaml", "--quiet") as agent:
        assert agent.stdout is not None
        sweep_id = agent.stdout.readline().strip()
        peak_kb = watch_memory(agent)
    assert agent.returncode == 0
    assert 0 < peak_kb < 200_000
    (trial,) = workdir.trials(sweep_id)
    assert (trial["objective"], trial["metrics"]["loss"]) == (2, 2)
    lines = workdir.call("logs", f"{sweep_id}/0").stdout
    assert "not UTF-8 😀" in lines
    assert lines.endswith("the end\n")
