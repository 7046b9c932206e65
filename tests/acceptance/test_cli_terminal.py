"""The command line on a real terminal: live display, colour, confirmation, and hostile text."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from smsweep.cli.text import clean
from tests.support.recorded_requests import CONFIG, record

SMSWEEP = [sys.executable, "-m", "smsweep.cli.main"]
HOSTILE = "\x1b]0;owned\x07\x1b[2J[red]x[/nope]"

TRAIN = """
import argparse, os, smsweep, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--a", type=int)
a = parser.parse_known_args()[0].a
smsweep.init()
smsweep.log({"loss": a, "\\x1b[2J[bold]odd": "\\x1b]0;owned\\x07"})
time.sleep(0.6)
if a == 3:
    sys.exit("\\x1b]0;owned\\x07[/] bad")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    parameters = {"a": {"values": [1, 2, 3]}, "text": {"value": HOSTILE}}
    metric = {"name": "loss", "goal": "minimize"}
    config = {"program": "train.py", "method": "grid", "metric": metric, "parameters": parameters}
    (tmp_path / "sweep.yaml").write_text(json.dumps(config))
    return tmp_path


class Terminal:
    """Runs a command with all three streams on a terminal, and records the output."""

    def __init__(
        self,
        folder: Path,
        *args: str,
        typed: str = "",
        at: Mapping[str, Callable[[subprocess.Popen[bytes]], object]] | None = None,
        **environ: str,
    ) -> None:
        """at: text -> function to call with the process, once it has shown the text; one after the other."""
        ours, its = pty.openpty()
        bare = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        environ = {**bare, "TERM": "xterm-256color", "COLUMNS": "100", **environ}
        self._parts: list[bytes] = []
        with subprocess.Popen(
            [*SMSWEEP, *args], cwd=folder, env=environ, stdin=its, stdout=its, stderr=its
        ) as process:
            os.close(its)
            reader = threading.Thread(target=self._read, args=(ours,))
            reader.start()
            os.write(ours, typed.encode())
            for text, act in (at or {}).items():
                while process.poll() is None and text.encode() not in b"".join(self._parts):
                    time.sleep(0.05)
                act(process)
            self.code = process.wait(timeout=60)
            reader.join()
        os.close(ours)
        self.shown = b"".join(self._parts).decode()

    def _read(self, ours: int) -> None:
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the terminal is closed
                return
            if not part:
                return
            self._parts.append(part)


def test_run_shows_bar_running_trials_and_best(folder: Path) -> None:
    (folder / "train.py").write_text(
        TRAIN.replace("time.sleep(0.6)", f"while not os.path.exists('{folder}/end' + str(a)): time.sleep(0.05)")
    )

    def end(*values: int) -> None:
        for a in values:
            (folder / f"end{a}").touch()

    at = {
        "0  running": lambda process: end(1, 2),
        "2/3": lambda process: end(3),
    }
    terminal = Terminal(folder, "run", "sweep.yaml", "--parallel", "2", at=at)
    assert terminal.code == 0
    for shown in (
        "2/3",
        "0  running",
        "best loss=1",
        "1 failed",
        "/2 failed  exit code 1; last line: [/] bad",
        "0*",
    ):
        assert shown in terminal.shown


def test_hostile_text_is_escaped_on_the_terminal(folder: Path) -> None:
    shown = Terminal(folder, "run", "sweep.yaml").shown
    sweep_id = next(line for line in shown.splitlines() if len(line) == 8 and line.isalnum())
    for args in (["trials", sweep_id], ["show", f"{sweep_id}/2"], ["best", sweep_id], ["logs", f"{sweep_id}/2"]):
        shown += Terminal(folder, *args).shown
    shown += Terminal(folder, "plan", "sweep.yaml").shown
    assert "[red]x[/nope]" in shown
    assert "\x1b]0;" not in shown
    assert "\x1b[2J" not in shown


def test_no_color_turns_colour_off(folder: Path) -> None:
    Terminal(folder, "sweep", "sweep.yaml")
    assert "\x1b[32m" not in Terminal(folder, "run", "sweep.yaml", NO_COLOR="1").shown


def test_dumb_terminal_gets_plain_lines(folder: Path) -> None:
    assert "\x1b[1A" not in Terminal(folder, "run", "sweep.yaml", TERM="dumb").shown


def test_narrow_terminal_shows_everything(folder: Path) -> None:
    assert Terminal(folder, "run", "sweep.yaml", COLUMNS="20").code == 0


def test_watch_follows_another_agent_until_the_end(folder: Path) -> None:
    sweep_id = Terminal(folder, "sweep", "sweep.yaml").shown.split()[0]
    agent = subprocess.Popen([*SMSWEEP, "agent", sweep_id, "-q"], cwd=folder)
    try:
        terminal = Terminal(folder, "watch", sweep_id, "--interval", "0.2")
    finally:
        assert agent.wait(timeout=60) == 0
    assert terminal.code == 0
    for shown in (f"{sweep_id}  running", f"{sweep_id} is finished: 2 finished, 1 failed"):
        assert shown in terminal.shown
    assert "3/3" in terminal.shown.rpartition("running")[2]  # the last view remains


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_in_watch_keeps_the_sweep_and_restores_the_cursor(
    folder: Path, number: signal.Signals, code: int
) -> None:
    sweep_id = Terminal(folder, "sweep", "sweep.yaml").shown.split()[0]
    at = {"no trial is running": lambda process: process.send_signal(number)}
    terminal = Terminal(folder, "watch", sweep_id, at=at)
    assert terminal.code == code
    assert terminal.shown.rindex("\x1b[?25h") > terminal.shown.rindex("\x1b[?25l")
    assert "pending" in Terminal(folder, "ls").shown


def test_watch_on_a_dumb_terminal_prints_lines(folder: Path) -> None:
    sweep_id = Terminal(folder, "run", "sweep.yaml", "--quiet").shown.split()[0]
    terminal = Terminal(folder, "watch", sweep_id, TERM="dumb")
    assert "\x1b" not in terminal.shown
    assert f"{sweep_id} finished  3 of 3 ended: 2 finished, 1 failed" in terminal.shown


def test_trials_with_many_params_are_one_line_each(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSWEEP_DIR", str(folder / "recorded"))
    monkeypatch.delenv("SMSWEEP_STORE", raising=False)
    names = {f"layer_{i}_width": {"values": [16, 32]} for i in range(30)}
    sweep_id = record(120, config={**CONFIG, "parameters": {**names, "epochs": {"value": 9}}}, n_points=1)
    terminal = Terminal(folder, "trials", sweep_id, COLUMNS="60", NO_COLOR="1")
    rows = [clean(row) for row in terminal.shown.splitlines()]  # bold is not a colour
    assert all(len(row) <= 60 for row in rows[:101])
    assert rows[0].split()[:3] == ["trial", "state", "objective"]
    assert [row.split()[0].rstrip("*") for row in rows[1:101]] == [str(number) for number in range(100)]
    assert "same in all trials: epochs=9" in terminal.shown
    assert "more; show all with: smsweep trials" in terminal.shown
    assert "100 of 120 trials shown; show all with --limit 0" in terminal.shown


def test_ls_never_cuts_ids(folder: Path) -> None:
    sweep_id = Terminal(folder, "sweep", "sweep.yaml", "--name", "a name of some length").shown.split()[0]
    assert f"{sweep_id} " in Terminal(folder, "ls", COLUMNS="46").shown


def test_ls_prints_one_line_per_sweep(folder: Path) -> None:
    sweep_id = Terminal(folder, "sweep", "sweep.yaml", "--name", "N" * 200).shown.split()[0]
    head, row, hint, idle = Terminal(folder, "ls", COLUMNS="46", NO_COLOR="1").shown.strip().splitlines()
    assert clean(head).split()[:3] == ["id", "name", "state"]
    assert (clean(row).split()[0], len(clean(row).rstrip()) <= 46) == (sweep_id, True)
    assert "pending" in row
    assert "show all with: smsweep ls" in hint
    assert f"start one with: smsweep agent {sweep_id}" in idle


def test_show_wraps_long_values(folder: Path) -> None:
    parameters = {f"param_{i}": {"value": i} for i in range(30)} | {"a": {"values": [1]}}
    config = {"program": "train.py", "method": "grid", "metric": {"name": "loss"}, "parameters": parameters}
    (folder / "wide.yaml").write_text(json.dumps(config))
    sweep_id = Terminal(folder, "run", "wide.yaml").shown.split()[0]
    shown = Terminal(folder, "show", sweep_id, COLUMNS="50").shown.splitlines()
    assert all(len(line) <= 50 for line in shown)
    at = next(i for i, line in enumerate(shown) if line.startswith("params"))
    assert shown[at + 1].startswith(" " * 9 + "param_")


def test_rm_keeps_the_trial_if_not_confirmed(folder: Path) -> None:
    sweep_id = Terminal(folder, "sweep", "sweep.yaml").shown.split()[0]
    assert Terminal(folder, "rm", sweep_id, typed="n\n").code == 1
    assert sweep_id in Terminal(folder, "ls").shown


def test_rm_removes_the_trial_if_confirmed(folder: Path) -> None:
    sweep_id = Terminal(folder, "sweep", "sweep.yaml").shown.split()[0]
    terminal = Terminal(folder, "rm", sweep_id, typed="y\n")
    assert terminal.code == 0, terminal.shown
    assert sweep_id not in Terminal(folder, "ls").shown
