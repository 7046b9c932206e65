"""A working directory and the smsweep command in it, as real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.markdown import ROOT
from tests.walkthrough import environment

SMSWEEP = (sys.executable, "-m", "smsweep.cli.main")
TIMEOUT_S = 60
NOTHING: Mapping[str, str] = {}


class Desk:
    """files: name -> text, or a dict for a file in JSON (which is YAML, too)."""

    def __init__(self, folder: Path, files: Mapping[str, str | dict[str, Any]]) -> None:
        self.folder = folder
        self.environ = {**environment(folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name).write_text(text, encoding="utf-8")

    def start(
        self, *args: str, command: Sequence[str] = SMSWEEP, environ: Mapping[str, str] = NOTHING
    ) -> subprocess.Popen[str]:
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
        """Run a command to its end. code: the exit code it must have."""
        with self.start(*args, command=command, environ=environ) as process:
            out, err = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == code, f"{' '.join(args)} ended with {process.returncode}:\n{out}{err}"
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


def alone_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have this process work in a folder, its sweeps in one below, without settings of whoever runs the tests."""
    for name in ("SMSWEEP_STORE", "SMSWEEP_BACKEND", "SMSWEEP_UI_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SMSWEEP_DIR", str(folder / "sweeps"))
    monkeypatch.chdir(folder)
    return folder


def grid(metric: str | None = "loss", **parameters: object) -> dict[str, Any]:
    """Return a sweep.yaml of train.py over lists of values; anything else is a constant."""
    return {
        "program": "train.py",
        "method": "grid",
        **({"metric": {"name": metric, "goal": "minimize"}} if metric else {}),
        "parameters": {
            name: {"values": value} if isinstance(value, list) else {"value": value}
            for name, value in parameters.items()
        },
    }
