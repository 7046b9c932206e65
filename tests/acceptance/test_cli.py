"""The command line with real processes, trials and signals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.walkthrough import NEW_PYTHON, SMSWEEP

TIMEOUT_S = 60

# Fails while a file `bad-<a>` exists, and waits while `wait-<a>` exists, both beside the sweep's file.
TRAIN = """
import argparse, os, signal, sys, time
import smsweep
parser = argparse.ArgumentParser()
parser.add_argument("--a", type=int)
parser.add_argument("--here")
parser.add_argument("--deaf", default="")
args = parser.parse_known_args()[0]
if args.deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
smsweep.init()
smsweep.log({"loss": 10 / args.a})
print("trial of", args.a, flush=True)
while os.path.exists(f"{args.here}/wait-{args.a}"):
    time.sleep(0.02)
if os.path.exists(f"{args.here}/bad-{args.a}"):
    sys.exit("no luck [bold]today[/]")
"""


class Folder:
    """A working directory with a sweep of three cells in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SMSWEEP_", "WANDB_"))},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
        }
        (path / "train.py").write_text(TRAIN)
        self.configure()

    def configure(self, **values: object) -> None:
        parameters = {"a": {"values": [1, 2, 4]}, "here": {"value": str(self.path)}}
        parameters |= {name: {"value": value} for name, value in values.items()}
        metric = {"name": "loss", "goal": "minimize"}
        config = {"program": "train.py", "method": "grid", "metric": metric, "parameters": parameters}
        (self.path / "sweep.yaml").write_text(json.dumps(config))

    def mark(self, *names: str) -> None:
        for name in names:
            (self.path / name).touch()

    def unmark(self, *names: str) -> None:
        for name in names:
            (self.path / name).unlink()

    def start(self, *args: str, command: Sequence[str] = NEW_PYTHON) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, *args],
            cwd=self.path,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        with self.start(*args, command=SMSWEEP) as process:
            out, err = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == code, err
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def sweep(self) -> str:
        return self.call("sweep", "sweep.yaml").stdout.strip()

    def trials(self, sweep_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.call("trials", sweep_id, "--json").stdout)
        return found

    def states(self, sweep_id: str) -> list[str]:
        return [trial["state"] for trial in self.trials(sweep_id)]

    def attempts(self, sweep_id: str) -> list[int]:
        return [trial["attempt"] for trial in self.trials(sweep_id)]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@contextlib.contextmanager
def at_work(folder: Folder, *args: str, until: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command, wait for output on stderr, and kill the command at the end if it still runs."""
    process = folder.start(*args)
    try:
        wait_for_line(process, until)
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    output = []
    for line in process.stderr:
        output.append(line)
        if text in line:
            return
    raise AssertionError(f"the process exited without printing {text!r}: {''.join(output)}")


def test_grid_runs_every_cell(folder: Folder) -> None:
    ended = folder.call("run", "sweep.yaml", "--parallel", "2")
    sweep_id = ended.stdout.strip()
    assert folder.states(sweep_id) == ["finished"] * 3
    assert "2*     finished  2.5" in ended.stderr
    assert json.loads(folder.call("best", sweep_id, "--json").stdout)["params"]["a"] == 4


def test_wandb_command_lines_work(folder: Folder) -> None:
    sweep_id = folder.call("sweep", "--project", "p", "sweep.yaml").stdout.strip()
    folder.call("agent", "--count", "1", f"team/p/{sweep_id}")
    assert folder.states(sweep_id) == ["finished"]


def test_second_agent_continues_after_count(folder: Folder) -> None:
    sweep_id = folder.call("run", "sweep.yaml", "--count", "1").stdout.strip()
    assert folder.states(sweep_id) == ["finished"]
    folder.call("agent", sweep_id)
    assert [trial["params"]["a"] for trial in folder.trials(sweep_id)] == [1, 2, 4]


def test_parallel_trials_overlap(folder: Folder) -> None:
    folder.mark("wait-1", "wait-2")
    with at_work(folder, "run", "sweep.yaml", "--parallel", "2", until="/1 running") as process:
        folder.unmark("wait-1", "wait-2")
        out, _ = process.communicate(timeout=TIMEOUT_S)
    first, second, _ = folder.trials(out.strip())
    assert datetime.fromisoformat(second["started_at"]) < datetime.fromisoformat(first["ended_at"])


def test_only_removed_cell_runs_again(folder: Folder) -> None:
    sweep_id = folder.call("run", "sweep.yaml").stdout.strip()
    before = {trial["number"]: trial for trial in folder.trials(sweep_id)}
    folder.call("rm", "-y", f"{sweep_id}/1")
    folder.call("sweep", "--resume", sweep_id)
    folder.call("agent", sweep_id)
    after = {trial["number"]: trial for trial in folder.trials(sweep_id)}
    assert sorted(after) == [0, 2, 3]
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[3]["params"] == before[1]["params"]


def test_failed_trials_run_again_and_finished_trials_do_not(folder: Folder) -> None:
    folder.mark("bad-2")
    sweep_id = folder.call("run", "sweep.yaml").stdout.strip()
    assert folder.states(sweep_id) == ["finished", "failed", "finished"]
    folder.unmark("bad-2")
    assert folder.call("retry", sweep_id, "--failed").stdout.strip() == f"{sweep_id}/1"
    assert f"continue with: smsweep sweep --resume {sweep_id}" in folder.call("agent", sweep_id).stderr
    folder.call("sweep", "--resume", sweep_id)
    folder.call("agent", sweep_id)
    assert folder.states(sweep_id) == ["finished"] * 3
    assert folder.attempts(sweep_id) == [0, 1, 0]


def test_sweep_with_only_failed_trials_exits_with_3_and_groups_reasons(folder: Folder) -> None:
    folder.mark("bad-1", "bad-2", "bad-4")
    ended = folder.call("run", "sweep.yaml", code=3)
    assert "  3 x " in ended.stderr
    assert "smsweep logs" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "no luck [bold]today[/]" in folder.call("logs", f"{ended.stdout.strip()}/0").stdout


def test_first_ctrl_c_lets_running_trials_finish(folder: Folder) -> None:
    folder.mark("wait-1")
    with at_work(folder, "run", "sweep.yaml", until="/0 running") as process:
        process.send_signal(signal.SIGINT)
        wait_for_line(process, "Ctrl-C again")
        folder.unmark("wait-1")
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert folder.states(out.strip()) == ["finished"]
    assert f"smsweep agent {out.strip()}" in err


def test_two_ctrl_c_stop_running_trials(folder: Folder) -> None:
    folder.mark("wait-1")
    with at_work(folder, "run", "sweep.yaml", until="/0 running") as process:
        for message in ("Ctrl-C again stops", "Ctrl-C again kills"):
            process.send_signal(signal.SIGINT)
            wait_for_line(process, message)
        out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert folder.states(out.strip()) == ["killed"]


def test_trial_that_ignores_sigterm_is_killed_after_term_timeout(folder: Folder) -> None:
    folder.configure(deaf="yes")
    folder.mark("wait-1")
    with at_work(folder, "run", "sweep.yaml", "-t", "1", until="/0 running") as process:
        for message in ("Ctrl-C again stops", "Ctrl-C again kills"):
            process.send_signal(signal.SIGINT)
            wait_for_line(process, message)
        out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert folder.states(out.strip()) == ["killed"]


def test_third_ctrl_c_kills_trial_that_ignores_sigterm(folder: Folder) -> None:
    folder.configure(deaf="yes")
    folder.mark("wait-1")
    with at_work(folder, "run", "sweep.yaml", until="/0 running") as process:
        for message in ("Ctrl-C again stops", "Ctrl-C again kills", "killing"):
            process.send_signal(signal.SIGINT)
            wait_for_line(process, message)
        out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert folder.states(out.strip()) == ["killed"]


def test_sigterm_returns_running_trials_to_queue(folder: Folder) -> None:
    folder.mark("wait-1")
    with at_work(folder, "run", "sweep.yaml", until="/0 running") as process:
        process.terminate()
        out, _ = process.communicate(timeout=TIMEOUT_S)
    sweep_id = out.strip()
    assert process.returncode == 143
    assert folder.states(sweep_id) == ["pending"]
    folder.unmark("wait-1")
    folder.call("agent", sweep_id)
    assert folder.states(sweep_id) == ["finished"] * 3


def test_next_agent_continues_after_kill_9(folder: Folder) -> None:
    folder.mark("wait-1")
    sweep_id = folder.sweep()
    with at_work(folder, "agent", sweep_id, until="/0 running") as process:
        process.kill()
        process.wait(timeout=TIMEOUT_S)
    folder.unmark("wait-1")
    folder.call("agent", sweep_id)
    assert folder.states(sweep_id) == ["finished"] * 3
    assert folder.attempts(sweep_id) == [0, 0, 0]


def test_two_agents_share_sweep_without_repeats(folder: Folder) -> None:
    sweep_id = folder.sweep()
    with folder.start("agent", sweep_id) as one, folder.start("agent", sweep_id) as other:
        for process in (one, other):
            process.communicate(timeout=TIMEOUT_S)
            assert process.returncode == 0
    assert sorted(trial["params"]["a"] for trial in folder.trials(sweep_id)) == [1, 2, 4]


def test_cancelled_sweep_ends_its_agent(folder: Folder) -> None:
    folder.mark("wait-1")
    sweep_id = folder.sweep()
    with at_work(folder, "agent", sweep_id, until="/0 running") as process:
        folder.call("sweep", "--cancel", sweep_id)
        process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert folder.states(sweep_id) == ["killed"]


def test_logs_can_be_followed_to_their_end(folder: Folder) -> None:
    folder.mark("wait-1")
    sweep_id = folder.sweep()
    with (
        at_work(folder, "agent", "--count", "1", sweep_id, until="/0 running"),
        folder.start("logs", "-f", f"{sweep_id}/0") as logs,
    ):
        assert logs.stdout is not None
        assert logs.stdout.readline() == "trial of 1\n"
        folder.unmark("wait-1")
        logs.communicate(timeout=TIMEOUT_S)
        assert logs.returncode == 0


def test_run_json_prints_one_document(folder: Folder) -> None:
    shown = json.loads(folder.call("run", "sweep.yaml", "--json").stdout)
    assert shown["trials"] == {"finished": 3}
    assert shown["ended"] == {"finished": 3}


def test_quiet_run_prints_only_the_id(folder: Folder) -> None:
    assert folder.call("run", "sweep.yaml", "--quiet").stderr == ""


def test_closed_stdout_is_not_an_error(folder: Folder) -> None:
    with folder.start("completion", "bash") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == -signal.SIGPIPE  # like git


def test_agent_continues_after_stderr_is_closed(folder: Folder) -> None:
    with folder.start("run", "sweep.yaml") as process:
        assert process.stderr is not None
        process.stderr.close()
        assert process.stdout is not None
        sweep_id = process.stdout.read().strip()
    assert process.returncode == 0
    assert {trial["state"] for trial in folder.trials(sweep_id)} == {"finished"}


def test_agent_without_streams_runs_its_trials(folder: Folder) -> None:
    closing = "import os, sys; os.closerange(0, 3); os.execv(sys.argv[1], sys.argv[1:])"
    argv = [sys.executable, "-c", closing, *NEW_PYTHON, "run", "sweep.yaml"]
    assert subprocess.run(argv, cwd=folder.path, env=folder.environ).returncode == 0


def test_full_disk_is_reported(folder: Folder) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*NEW_PYTHON, "completion", "bash"], env=folder.environ, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 1
    assert ended.stderr == "error: stdout: No space left on device\n"


def test_full_disk_for_stderr_does_not_stop_the_agent(folder: Folder) -> None:
    with Path("/dev/full").open("w") as full:
        argv = [*NEW_PYTHON, "run", "sweep.yaml"]
        assert subprocess.run(argv, cwd=folder.path, env=folder.environ, stderr=full).returncode == 0
