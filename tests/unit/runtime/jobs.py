"""File tree of a training job in a temporary folder, and its entrypoint as a real process."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from smsweep.source.runtime_zip import runtime_zip

PYTHON = os.environ.get("SMSWEEP_TEST_JOB_PYTHON", sys.executable)  # interpreter of jobs, and their `python`
PATH = f"{Path(PYTHON).parent}:{os.environ['PATH']}"


@dataclass(frozen=True)
class Done:
    code: int
    out: str  # stdout and stderr of the script in order; invalid UTF-8 is replaced
    err: str  # output of the entrypoint itself


class Job:
    """One job. files: name -> text of the source; params and other arguments: those of the trial."""

    def __init__(self, root: Path) -> None:
        self.ml = root / "ml"
        self.pid_file = root / "pid"
        self.channel = self.ml / "input/data/smsweep"
        self.channel.mkdir(parents=True)
        (self.ml / "input/config").mkdir()
        (self.channel / "runtime.zip").write_bytes(runtime_zip())
        self.environ = {"PATH": PATH, "SMSWEEP_ML_ROOT": str(self.ml), "HOME": str(root)}

    def trial(self, files: Mapping[str, str], params: Mapping[str, Any] | None = None, **more: Any) -> Job:
        document = {
            "version": 1,
            "sweep_id": "s1",
            "number": 7,
            "attempt": 0,
            "params": params or {},
            "command": [],
            "program": "train.py",
            **more,
        }
        self.hyperparameters({"smsweep": json.dumps(document)})
        self.source(files)
        return self

    def hyperparameters(self, values: Mapping[str, str]) -> None:
        (self.ml / "input/config/hyperparameters.json").write_text(json.dumps(values))

    def source(self, files: Mapping[str, str]) -> None:
        with tarfile.open(self.channel / "source.tar.gz", "w:gz") as tar:
            for name, text in files.items():
                data = text.encode()
                member = tarfile.TarInfo(name)
                member.size = len(data)
                member.mode = 0o755
                tar.addfile(member, io.BytesIO(data))

    def start(
        self, flags: Sequence[str] = (), python: str = PYTHON, stdout: int | IO[bytes] = subprocess.PIPE
    ) -> subprocess.Popen[bytes]:
        argv = [python, str(self.channel / "runtime.zip"), "--pid-file", str(self.pid_file), *flags]
        return subprocess.Popen(
            argv, env=self.environ, stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE
        )

    def run(self, flags: Sequence[str] = (), python: str = PYTHON) -> Done:
        return finish(self.start(flags, python))

    @property
    def failure(self) -> str:
        file = self.ml / "output/failure"
        return file.read_text() if file.exists() else ""


def finish(process: subprocess.Popen[bytes], timeout_s: float = 30) -> Done:
    out, err = process.communicate(timeout=timeout_s)
    return Done(process.returncode, out.decode(errors="replace"), err.decode())


def wait_for(is_so: Callable[[], object], timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Return True if the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
