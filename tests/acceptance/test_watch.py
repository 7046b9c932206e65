"""`smsweep watch` from another folder, with a store that restarts, and on a terminal that is resized."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.markdown import ROOT
from tests.support.postgres import run_postgres
from tests.support.walkthrough import NEW_PYTHON
from tests.support.working_dir import WorkingDir, grid

TRAIN = """
import argparse, smsweep, time
parser = argparse.ArgumentParser()
parser.add_argument("--a", type=float)
a = parser.parse_known_args()[0].a
for step in range(8):
    smsweep.log({"loss": a / (step + 1)}, step=step)
    time.sleep(0.15)
if a == 3:
    raise ValueError("three is too much for this one")
"""
FILES: dict[str, str | dict[str, Any]] = {"train.py": TRAIN, "sweep.yaml": grid(a=[1, 2, 3, 4])}


def workdir(folder: Path, **environ: str) -> WorkingDir:
    folder.mkdir()
    created = WorkingDir(folder, FILES)
    created.environ |= environ
    return created


def test_watch_on_other_machine_survives_database_restart(tmp_path: Path) -> None:
    with run_postgres() as postgres:
        shared = {"SMSWEEP_STORE": postgres.new_schema()}
        ours, theirs = workdir(tmp_path / "ours", **shared), workdir(tmp_path / "theirs", **shared)
        sweep_id = ours.sweep()
        with theirs.start("watch", sweep_id, "--json", "--interval", "0.2") as watcher:
            assert watcher.stdout is not None
            first = json.loads(watcher.stdout.readline())
            with ours.start("agent", sweep_id, "--quiet") as agent:
                started = read_until_trial(watcher.stdout)
                postgres.restart()
                assert agent.wait(timeout=60) == 0
            rest = [*started, *(json.loads(line) for line in watcher.stdout)]
            assert watcher.wait(timeout=60) == 0
    assert (first["event"], first["state"], first["over"]) == ("sweep", "running", False)
    assert (rest[-1]["event"], rest[-1]["state"], rest[-1]["over"]) == ("sweep", "finished", True)
    ends = {event["number"]: event["state"] for event in rest if event["event"] == "trial"}
    assert ends == {0: "finished", 1: "finished", 2: "failed", 3: "finished"}
    best = [event["objective"] for event in rest if event["event"] == "best"]
    assert best == sorted(best, reverse=True)
    assert best[-1] == 0.125


def read_until_trial(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Return the events up to and including the first event of a trial."""
    events = []
    for line in lines:
        events.append(json.loads(line))
        if events[-1]["event"] == "trial":
            break
    return events


class Tmux:
    """A terminal of tmux with a separate server. tmux wraps lines again when the terminal becomes narrower."""

    def __init__(self, workdir: WorkingDir, command: str, columns: int, rows: int) -> None:
        self._name = f"smsweep-{os.getpid()}"
        size = ["-x", str(columns), "-y", str(rows)]
        environ = {**workdir.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
        argv = ["tmux", "-u", "-L", self._name, "-f", "/dev/null", "new-session", "-d", *size, command]
        subprocess.run(argv, cwd=workdir.folder, env=environ, check=True)

    def call(self, *args: str) -> str:
        done = subprocess.run(["tmux", "-L", self._name, *args], capture_output=True, text=True, check=True)
        return done.stdout

    def screen(self) -> list[str]:
        return self.call("capture-pane", "-p").splitlines()


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    if shutil.which("tmux") is None:
        if os.environ.get("CI"):
            pytest.fail("tmux is not installed")
        pytest.skip("tmux is not installed")
    command = f"{sys.executable} -m {NEW_PYTHON[-1]} run sweep.yaml; exec sleep 60"
    terminal = Tmux(workdir(tmp_path / "workdir"), command, 110, 24)
    try:
        yield terminal
    finally:
        terminal.call("kill-server")


def test_resized_terminal_shows_one_view(tmux: Tmux) -> None:
    wait_for(tmux, "1  running")
    for columns in (60, 40, 100):
        tmux.call("resize-window", "-x", str(columns), "-y", "24")
        time.sleep(1.0)  # several frames: old lines would remain visible
        wait_for_one_view(tmux)
    wait_for(tmux, "is finished: 3 finished, 1 failed")
    screen = tmux.screen()
    words = " ".join(" ".join(screen).split())  # the failure was printed at 60 columns, or on two lines at 40
    assert words.count("/2 failed ValueError: three is too much") == 1, "\n".join(screen)
    assert not any("━" in line for line in screen), "\n".join(screen)


def wait_for_one_view(tmux: Tmux) -> None:
    """Wait until a capture shows one view. A half-drawn view is temporary; an old line that remains is not."""
    end = time.monotonic() + 5
    while sum("minimize" in line or "grid" in line for line in tmux.screen()) != 1:
        assert time.monotonic() < end, "\n".join(tmux.screen())
        time.sleep(0.1)


def wait_for(tmux: Tmux, text: str) -> None:
    end = time.monotonic() + 60
    while not any(text in line for line in tmux.screen()):
        assert time.monotonic() < end, "\n".join(tmux.screen())
        time.sleep(0.1)
