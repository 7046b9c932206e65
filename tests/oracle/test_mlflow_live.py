"""`tracking: {mlflow: URI}` with a real MLflow server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.working_dir import grid
from tools.environments import oracle

pytestmark = [pytest.mark.oracle, pytest.mark.slow]
HERE = Path(__file__).parent
WAIT_S = 120
TRAIN = """
import argparse, time
import smsweep
parser = argparse.ArgumentParser()
parser.add_argument("--a", type=int)
a = parser.parse_known_args()[0].a
for step in range(3):
    smsweep.log({"loss": a + step})
    time.sleep(PAUSE)
if a == 3:
    raise ValueError("three")
"""
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/team"


class Server:
    """A real MLflow server on loopback, with a SQLite database that survives restarts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = found.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        folder = self._folder
        argv = [
            *(
                str(oracle("mlflow").python),
                "-m",
                "mlflow",
                "server",
                "--host",
                "127.0.0.1",
                "--port",
                f"{self.port}",
            ),
            *(
                "--backend-store-uri",
                f"sqlite:///{folder}/mlflow.db",
                "--artifacts-destination",
                f"{folder}/files",
            ),
            *("--workers", "1"),
        ]
        environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (folder / "server.log").open("ab") as out:
            self._process = subprocess.Popen(
                argv, cwd=folder, env=environ, stdout=out, stderr=out, start_new_session=True
            )
        end = time.monotonic() + WAIT_S
        while True:
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
                return
            assert time.monotonic() < end, (folder / "server.log").read_text()
            time.sleep(0.2)

    def stop(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def runs(self) -> list[dict[str, Any]]:
        """Return all runs of all experiments."""
        found: list[dict[str, Any]] = oracle("mlflow").ask(HERE / "ask_mlflow.py", {"uri": self.uri})
        return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    server = Server(folder)
    try:
        yield server
    finally:
        server.stop()


class Sweeps:
    """A folder with a sweep that is tracked."""

    def __init__(self, folder: Path, uri: str, *, pause_s: float = 0) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("SMSWEEP_")}
        (self.folder / "train.py").write_text(TRAIN.replace("PAUSE", str(pause_s)))
        (self.folder / "sweep.yaml").write_text(json.dumps(grid(a=[1, 2, 3]) | {"name": "kinds"}))
        (self.folder / "job.yaml").write_text(json.dumps({"tracking": {"mlflow": uri}}))

    def start(self, *words: str) -> subprocess.Popen[str]:
        argv = [str(oracle("mlflow").python), "-m", "smsweep.cli.main", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, cwd=self.folder, env=self.environ, stdout=pipe, stderr=pipe, text=True)

    def cli(self, *words: str) -> tuple[str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=WAIT_S)
        return out, err

    def wait_for(self, sweep_id: str, n_finished: int) -> None:
        end = time.monotonic() + WAIT_S
        while json.loads(self.cli("show", sweep_id, "--json")[0])["trials"].get("finished", 0) < n_finished:
            assert time.monotonic() < end


def check(runs: list[dict[str, Any]], sweep_id: str) -> None:
    """Check that MLflow has the complete sweep, and each run once."""
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run["tags"])
    children = sorted((run for run in runs if run is not parent), key=lambda run: run["tags"]["smsweep.trial"])
    assert (parent["name"], parent["status"], parent["tags"]["smsweep.id"]) == (
        f"kinds-{sweep_id}",
        "FINISHED",
        sweep_id,
    )
    assert {run["tags"]["mlflow.parentRunId"] for run in children} == {parent["id"]}
    assert [run["tags"]["smsweep.trial"] for run in children] == [f"{sweep_id}/{n}" for n in range(3)]
    assert [run["status"] for run in children] == ["FINISHED", "FINISHED", "FAILED"]
    assert [run["params"] for run in children] == [{"a": "1"}, {"a": "2"}, {"a": "3"}]
    assert [run["metrics"]["loss"] for run in children] == [[[s, a + s] for s in range(3)] for a in (1, 2, 3)]
    assert all(run["start_time"] and run["end_time"] >= run["start_time"] for run in children)
    assert "ValueError: three" in children[2]["tags"]["smsweep.reason"]


def test_runs_are_written_while_the_sweep_runs(server: Server, tmp_path: Path) -> None:
    server.start()
    sweeps = Sweeps(tmp_path, server.uri, pause_s=3)
    process = sweeps.start("run", "sweep.yaml", "--job", "job.yaml", "--parallel", "3")
    end = time.monotonic() + WAIT_S
    states: set[str] = set()
    while process.poll() is None:
        states |= {run["status"] for run in server.runs() if run["metrics"].get("loss")}
        assert time.monotonic() < end
    out, err = process.communicate()
    assert "RUNNING" in states, err
    assert "View run" not in out + err
    check(server.runs(), out.split()[0])


def test_sweep_does_not_wait_for_an_unavailable_server(server: Server, tmp_path: Path) -> None:
    sweeps = Sweeps(tmp_path, server.uri)
    out, err = sweeps.cli("run", "sweep.yaml", "--job", "job.yaml")
    sweep_id = out.split()[0]
    assert f"tracking.mlflow: {server.uri}: Connection refused; the agent tries again, the sweep continues" in err
    assert f"the server does not have all results; write them with: smsweep agent {sweep_id}" in err
    assert "2 finished" in sweeps.cli("ls")[0] or json.loads(sweeps.cli("show", sweep_id, "--json")[0])["trials"]
    server.start()
    sweeps.cli("agent", sweep_id)
    check(server.runs(), sweep_id)


@pytest.mark.parametrize("call", ["create_run", "log_batch", "update_run_info"])
def test_killed_agent_leaves_no_duplicate_runs(server: Server, tmp_path: Path, call: str) -> None:
    server.start()
    sweeps = Sweeps(tmp_path, server.uri)
    sweep_id = sweeps.cli("sweep", "sweep.yaml", "--job", "job.yaml")[0].split()[0]
    for turn in range(1, 4):  # after the first, second and third call, before the notes are written
        program = (
            "import os, signal, sys\n"
            "from mlflow.store.tracking.rest_store import RestStore\n"
            f"made, turns = RestStore.{call}, iter(range(1, 100))\n"
            "def killed(self, *args, **kwargs):\n"
            "    made(self, *args, **kwargs)\n"
            f"    if next(turns) == {turn}: os.kill(os.getpid(), signal.SIGKILL)\n"
            "    return made_result\n"
        ).replace("    made(self", "    made_result = made(self")
        program += (
            f"RestStore.{call} = killed\nfrom smsweep.cli.main import main\nsys.argv[1:] = ['agent', {sweep_id!r}]\n"
            "main()\n"
        )
        (tmp_path / "killed.py").write_text(program)
        argv = [str(oracle("mlflow").python), str(tmp_path / "killed.py")]
        subprocess.run(argv, cwd=sweeps.folder, env=sweeps.environ, capture_output=True, timeout=WAIT_S)
    sweeps.cli("agent", sweep_id)
    check(server.runs(), sweep_id)


def test_server_of_sagemaker_is_named_by_its_arn(server: Server, tmp_path: Path) -> None:
    server.start()
    sweeps = Sweeps(tmp_path, ARN)
    sweeps.environ |= {
        "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT": server.uri,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "eu-west-1",
    }
    (sweeps.folder / "train.py").write_text(
        "import os\nassert 'MLFLOW_TRACKING_URI' not in os.environ\n" + TRAIN.replace("PAUSE", "0")
    )
    out, err = sweeps.cli("run", "sweep.yaml", "--job", "job.yaml")
    assert "tracking.mlflow" not in err
    check(server.runs(), out.split()[0])
