"""A working directory, and the smsweep command as a process in it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.markdown import ROOT
from tests.support.walkthrough import NEW_PYTHON, SMSWEEP, environment

TIMEOUT_S = 60
NOTHING: Mapping[str, str] = {}


class WorkingDir:
    """A working directory with files.

    Args:
        folder: The directory.
        files: Name -> content. A dict is written as JSON, which is also YAML.
    """

    def __init__(self, folder: Path, files: Mapping[str, str | dict[str, Any]]) -> None:
        self.folder = folder
        self.environ = {**environment(folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name).write_text(text, encoding="utf-8")

    def start(
        self, *args: str, command: Sequence[str] = NEW_PYTHON, environ: Mapping[str, str] = NOTHING
    ) -> subprocess.Popen[str]:
        """Start a command. It is the process that is returned, so tests can kill it."""
        return subprocess.Popen(
            [*command, *args],
            cwd=self.folder,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def call(
        self,
        *args: str,
        code: int = 0,
        command: Sequence[str] = SMSWEEP,
        environ: Mapping[str, str] = NOTHING,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, and wait until it exits. code: the expected exit code."""
        with self.start(*args, command=command, environ=environ) as process:
            out, err = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == code, f"{' '.join(args)} exited with code {process.returncode}:\n{out}{err}"
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def sweep(self, *flags: str) -> str:
        return self.call("sweep", "sweep.yaml", *flags).stdout.strip()

    def run(self, *flags: str) -> str:
        return self.call("run", "sweep.yaml", "--quiet", *flags).stdout.strip()

    def json(self, *args: str) -> Any:
        return json.loads(self.call(*args, "--json").stdout)

    def trials(self, sweep_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json("trials", sweep_id)
        return found


def use_own_workspace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with its own workspace, and remove the user's smsweep settings from the environment."""
    for name in ("SMSWEEP_STORE", "SMSWEEP_BACKEND", "SMSWEEP_UI_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SMSWEEP_DIR", str(folder / "sweeps"))
    monkeypatch.chdir(folder)
    return folder


def grid(metric: str | None = "loss", **parameters: object) -> dict[str, Any]:
    """Return a grid sweep of train.py. Lists are values of a parameter, other values are constants."""
    return {
        "program": "train.py",
        "method": "grid",
        **({"metric": {"name": metric, "goal": "minimize"}} if metric else {}),
        "parameters": {
            name: {"values": value} if isinstance(value, list) else {"value": value}
            for name, value in parameters.items()
        },
    }
