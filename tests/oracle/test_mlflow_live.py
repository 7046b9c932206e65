"""`tracking: {mlflow: URI}` with a real MLflow server."""

from __future__ import annotations

import contextlib
import fcntl
import http.server
import json
import os
import signal
import socket
import socketserver
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.support.working_dir import grid
from tools.environments import oracle

pytestmark = [pytest.mark.oracle, pytest.mark.slow, pytest.mark.timeout(900)]
WAIT_S = 280
START_S = 400  # of the server, on a busy machine
# sitecustomize.py: the process that writes to MLflow is killed after a call, before its note is written.
KILLED = """
import os, pathlib, signal, sys
if "mlflow_tracker" in " ".join(sys.orig_argv) and not pathlib.Path({until!r}).exists():
    from mlflow.store.tracking.rest_store import RestStore
    turns, made = iter(range(1, 1000)), RestStore.{call}
    def call_and_exit(*args, **kwargs):
        answer = made(*args, **kwargs)
        if next(turns) == {turn}:
            pathlib.Path({until!r}).touch()
            if {kills_agent}:
                os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    RestStore.{call} = call_and_exit
"""
TRAIN = """
import argparse, pathlib, time
import smsweep
parser = argparse.ArgumentParser()
parser.add_argument("--a", type=int)
a = parser.parse_known_args()[0].a
for step in range(3):
    smsweep.log({"loss": a + step})
while not pathlib.Path(UNTIL).exists():
    time.sleep(0.1)
if a == 3:
    raise ValueError("three")
"""
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/team"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a real MLflow server on loopback with a SQLite database, and yield its URI."""
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    argv = [str(oracle("mlflow").python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    argv += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
    argv += ["--artifacts-destination", f"{folder}/files"]
    environ = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a second process
    }
    with (folder / "server.log").open("wb") as out:
        process = subprocess.Popen(argv, cwd=folder, env=environ, stdout=out, stderr=out, start_new_session=True)
    try:
        end = time.monotonic() + START_S
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert time.monotonic() < end, (folder / "server.log").read_text()
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def answers(url: str) -> bool:
    with contextlib.suppress(urllib.error.URLError, OSError):
        urllib.request.urlopen(url, timeout=5).close()
        return True
    return False


def ask(server: str, method: str, body: dict[str, Any] | None = None, **query: str) -> dict[str, Any]:
    """Call a method of MLflow's REST API with POST, or with GET if there is no body."""
    url = f"{server}/api/2.0/mlflow/{method}?{urllib.parse.urlencode(query)}"
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def runs_of(server: str, experiment: str) -> list[dict[str, Any]]:
    """Return all runs of an experiment."""
    experiments = ask(server, "experiments/search", {"max_results": 1000})["experiments"]
    ids = [found["experiment_id"] for found in experiments if found["name"] == experiment]
    if not ids:
        return []
    found = ask(server, "runs/search", {"experiment_ids": ids, "max_results": 1000}).get("runs", [])
    return [run_of(server, run["info"], run["data"]) for run in found]


def run_of(server: str, info: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return one run with the histories of its metrics."""
    metrics = {}
    for metric in data.get("metrics", []):
        query = {"run_id": info["run_id"], "metric_key": metric["key"]}
        points = ask(server, "metrics/get-history", **query)["metrics"]
        metrics[metric["key"]] = [[point["step"], point["value"]] for point in points]
    return {
        "id": info["run_id"],
        "name": info["run_name"],
        "status": info["status"],
        "start_time": info["start_time"],
        "end_time": info.get("end_time"),
        "params": {param["key"]: param["value"] for param in data.get("params", [])},
        "tags": {tag["key"]: tag["value"] for tag in data.get("tags", [])},
        "metrics": metrics,
    }


@contextlib.contextmanager
def forwarding(port: int, target: str) -> Iterator[None]:
    """Forward connections to a port of loopback to the server."""

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", int(target.rpartition(":")[2]))) as onward:
                back = threading.Thread(target=copy, args=(onward, self.request))
                back.start()
                copy(self.request, onward)
                back.join()

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", port), Forward) as forwarder:
        threading.Thread(target=forwarder.serve_forever, daemon=True).start()
        yield
        forwarder.shutdown()


@contextlib.contextmanager
def failing(status: int | None) -> Iterator[tuple[int, list[str | None]]]:
    """Answer each request with a status, or never. Yield the port, and the logins of the requests."""
    logins: list[str | None] = []
    is_over = threading.Event()

    class Fail(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            logins.append(self.headers.get("Authorization"))
            if status is None:
                is_over.wait(WAIT_S)
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fail) as failer:
        failer.daemon_threads = True
        threading.Thread(target=failer.serve_forever, daemon=True).start()
        yield failer.server_address[1], logins
        is_over.set()
        failer.shutdown()


class Sweeps:
    """A folder with a sweep that is tracked."""

    def __init__(self, folder: Path, uri: str, *, until: str = ".") -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("SMSWEEP_")}
        (self.folder / "train.py").write_text(TRAIN.replace("UNTIL", repr(str(self.folder / until))))
        (self.folder / "sweep.yaml").write_text(json.dumps(grid(a=[1, 2, 3]) | {"name": "kinds"}))
        (self.folder / "job.yaml").write_text(json.dumps({"tracking": {"mlflow": uri}}))

    def kill_after(self, call: str, turn: int, *, kills_agent: bool) -> Path:
        """Kill the process that writes to MLflow after a call, once. Return the file that exists then."""
        killed = self.folder / f"killed-{turn}"
        code = KILLED.format(until=str(killed), call=call, turn=turn, kills_agent=kills_agent)
        (self.folder / "hooks").mkdir(exist_ok=True)
        (self.folder / "hooks" / "sitecustomize.py").write_text(code)
        self.environ["PYTHONPATH"] = str(self.folder / "hooks")
        return killed

    def start(self, *words: str) -> subprocess.Popen[str]:
        argv = [str(oracle("mlflow").python), "-m", "smsweep.cli.main", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, cwd=self.folder, env=self.environ, stdout=pipe, stderr=pipe, text=True)

    def cli(self, *words: str) -> tuple[str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=WAIT_S)
        return out, err


def check(server: str, sweep_id: str) -> None:
    """Check that MLflow has the complete sweep, and each run once."""
    name = f"kinds-{sweep_id}"
    runs = runs_of(server, name)
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run["tags"])
    children = sorted((run for run in runs if run is not parent), key=lambda run: run["tags"]["smsweep.trial"])
    assert (parent["name"], parent["status"], parent["tags"]["smsweep.id"]) == (name, "FINISHED", sweep_id)
    assert {run["tags"]["mlflow.parentRunId"] for run in children} == {parent["id"]}
    assert [run["tags"]["smsweep.trial"] for run in children] == [f"{sweep_id}/{n}" for n in range(3)]
    assert [run["status"] for run in children] == ["FINISHED", "FINISHED", "FAILED"]
    assert [run["params"] for run in children] == [{"a": "1"}, {"a": "2"}, {"a": "3"}]
    assert [run["metrics"]["loss"] for run in children] == [[[s, a + s] for s in range(3)] for a in (1, 2, 3)]
    assert all(run["start_time"] and run["end_time"] >= run["start_time"] for run in children)
    assert "ValueError: three" in children[2]["tags"]["smsweep.reason"]


def test_runs_are_written_while_the_sweep_runs(server: str, tmp_path: Path) -> None:
    sweeps = Sweeps(tmp_path, server, until="go")
    sweep_id = sweeps.cli("sweep", "sweep.yaml", "--job", "job.yaml")[0].split()[0]
    process = sweeps.start("agent", sweep_id, "--parallel", "3")
    end, runs = time.monotonic() + WAIT_S, runs_of(server, f"kinds-{sweep_id}")
    while sum(bool(run["metrics"].get("loss")) for run in runs) < 3:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.5)
        runs = runs_of(server, f"kinds-{sweep_id}")
    (sweeps.folder / "go").touch()
    out, err = process.communicate(timeout=WAIT_S)
    assert [run["status"] for run in runs] == ["RUNNING"] * 4
    assert "View run" not in out + err
    check(server, sweep_id)


def test_sweep_does_not_wait_for_an_unavailable_server(server: str, tmp_path: Path) -> None:
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    sweeps = Sweeps(tmp_path, uri)
    out, err = sweeps.cli("run", "sweep.yaml", "--job", "job.yaml")
    sweep_id = out.split()[0]
    assert f"tracking.mlflow: {uri}: Connection refused; the sweep continues, the agent tries again" in err
    assert f"the server does not have all results; write them with: smsweep agent {sweep_id}" in err
    shown = json.loads(sweeps.cli("show", sweep_id, "--json")[0])
    assert shown["trials"] == {"finished": 2, "failed": 1}
    with forwarding(port, server):
        sweeps.cli("agent", sweep_id)
    check(server, sweep_id)


@pytest.mark.parametrize("call", ["create_run", "log_batch", "update_run_info"])
def test_killed_agent_leaves_no_duplicate_runs(server: str, tmp_path: Path, call: str) -> None:
    sweeps = Sweeps(tmp_path, server)
    sweep_id = sweeps.cli("sweep", "sweep.yaml", "--job", "job.yaml")[0].split()[0]
    for turn in (1, 2):
        sweeps.kill_after(call, turn, kills_agent=True)
        killed = sweeps.start("agent", sweep_id, "--parallel", "3")
        killed.communicate(timeout=WAIT_S)
        assert killed.returncode == -signal.SIGKILL
    sweeps.cli("agent", sweep_id)
    check(server, sweep_id)


def test_killed_process_is_started_again(server: str, tmp_path: Path) -> None:
    sweeps = Sweeps(tmp_path, server, until="go")
    sweep_id = sweeps.cli("sweep", "sweep.yaml", "--job", "job.yaml")[0].split()[0]
    killed = sweeps.kill_after("create_run", 2, kills_agent=False)
    process = sweeps.start("agent", sweep_id, "--parallel", "3")
    end = time.monotonic() + WAIT_S
    while not killed.exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    (sweeps.folder / "go").touch()
    _, err = process.communicate(timeout=WAIT_S)
    assert "tracking.mlflow: the process that writes to MLflow ended with code -9" in err
    check(server, sweep_id)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (500, "too many 500 error responses"),
        (401, "failed with error code 401"),
        (404, "failed with error code 404"),
        (None, "Read timed out"),
    ],
)
def test_sweep_ends_with_a_server_that_fails(
    server: str, tmp_path: Path, status: int | None, message: str
) -> None:
    with failing(status) as (port, _):
        sweeps = Sweeps(tmp_path, f"http://127.0.0.1:{port}")
        out, err = sweeps.cli("run", "sweep.yaml", "--job", "job.yaml")
    sweep_id = out.split()[0]
    (warning,) = (line for line in err.splitlines() if "the agent tries again" in line)
    assert message in warning
    assert f"the server does not have all results; write them with: smsweep agent {sweep_id}" in err
    with forwarding(port, server):
        sweeps.cli("agent", sweep_id)
    check(server, sweep_id)


@contextlib.contextmanager
def silent() -> Iterator[socket.socket]:
    """Listen on a port whose connections the system accepts, and which never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(WAIT_S)
        yield listener


def uri_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_agent_exits_after_one_call_to_a_server_that_accepts_and_never_answers(tmp_path: Path) -> None:
    with silent() as listener:
        sweeps = Sweeps(tmp_path, uri_of(listener))
        process = sweeps.start("run", "sweep.yaml", "--job", "job.yaml")
        with listener.accept()[0]:
            _, err = process.communicate(timeout=WAIT_S)
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert process.returncode == 0
    assert "Read timed out" in err


def test_agent_does_not_wait_for_a_server_that_was_silent_before(tmp_path: Path) -> None:
    with silent() as listener:
        sweeps = Sweeps(tmp_path, uri_of(listener), until="go")
        sweep_id = sweeps.cli("sweep", "sweep.yaml", "--job", "job.yaml")[0].split()[0]
        process = sweeps.start("agent", sweep_id, "--parallel", "3")
        assert process.stderr is not None
        assert any("Read timed out" in line for line in process.stderr)
        shown = json.loads(sweeps.cli("show", sweep_id, "--json")[0])
        assert shown["trials"] == {"running": 3}  # the sweep does not wait
        (sweeps.folder / "go").touch()
        _, err = process.communicate(timeout=WAIT_S)
        exited = datetime.now(timezone.utc)
    trials = json.loads(sweeps.cli("trials", sweep_id, "--json")[0])
    ended = max(datetime.fromisoformat(trial["ended_at"]) for trial in trials)
    assert (exited - ended).total_seconds() < 18  # 5 s, and not the timeout of a request
    assert f"the server does not have all results; write them with: smsweep agent {sweep_id}" in err


def test_killed_detached_agent_is_not_running_while_its_process_waits_for_mlflow(tmp_path: Path) -> None:
    with silent() as listener:
        sweeps = Sweeps(tmp_path, uri_of(listener), until="go")
        sweep_id = sweeps.cli("sweep", "sweep.yaml", "--job", "job.yaml")[0].split()[0]
        out, err = sweeps.cli("agent", sweep_id, "--detach", "--json")
        assert "tracking.mlflow" not in err
        detached = json.loads(out)["detached"]
        with listener.accept()[0], Path(detached["log"]).open("rb") as log:
            with pytest.raises(BlockingIOError):
                fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
            os.kill(detached["pid"], signal.SIGKILL)
            end = time.monotonic() + 8  # the process waits for 20 s
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    break
                assert time.monotonic() < end, "another process keeps the log locked"
                time.sleep(0.1)
        (sweeps.folder / "go").touch()
        sweeps.cli("agent", sweep_id)


def test_login_is_sent_only_to_the_server_of_the_environment(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".mlflow").mkdir(parents=True)
    (home / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = hidden-4712\n"
    )
    with failing(401) as (port, logins):
        uri = f"http://127.0.0.1:{port}"
        sweeps = Sweeps(tmp_path, uri)
        sweeps.environ |= {"MLFLOW_TRACKING_TOKEN": "hidden-4711", "HOME": str(home)}
        out, err = sweeps.cli("run", "sweep.yaml", "--job", "job.yaml")
        assert f"{uri} does not get MLFLOW_TRACKING_TOKEN; to allow it, set MLFLOW_TRACKING_URI={uri}" in err
        assert set(logins) == {None}
        sweeps.environ["MLFLOW_TRACKING_URI"] = uri
        again = sweeps.cli("agent", out.split()[0])
    assert "does not get" not in again[1]
    assert logins[-1] == "Bearer hidden-4711" or str(logins[-1]).startswith("Basic ")
    shown = "".join([out, err, *again])
    stored = b"".join(file.read_bytes() for file in sweeps.folder.rglob("*") if file.is_file())
    for secret in ("hidden-4711", "hidden-4712"):
        assert secret not in shown
        assert secret.encode() not in stored


def test_deleted_run_does_not_stop_other_runs(server: str, tmp_path: Path) -> None:
    sweeps = Sweeps(tmp_path, server, until="go")
    sweep_id = sweeps.cli("sweep", "sweep.yaml", "--job", "job.yaml")[0].split()[0]
    process = sweeps.start("agent", sweep_id, "--parallel", "3")
    end, runs = time.monotonic() + WAIT_S, runs_of(server, f"kinds-{sweep_id}")
    while len(runs) < 4:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.5)
        runs = runs_of(server, f"kinds-{sweep_id}")
    (first,) = (run for run in runs if run["tags"].get("smsweep.trial") == f"{sweep_id}/0")
    ask(server, "runs/delete", {"run_id": first["id"]})
    (sweeps.folder / "go").touch()
    _, err = process.communicate(timeout=WAIT_S)
    assert err.count("its run is incomplete") == 1
    assert f"tracking.mlflow: {sweep_id}/0: " in err
    statuses = {run["tags"].get("smsweep.trial"): run["status"] for run in runs_of(server, f"kinds-{sweep_id}")}
    assert statuses == {None: "FINISHED", f"{sweep_id}/1": "FINISHED", f"{sweep_id}/2": "FAILED"}


def test_server_of_sagemaker_is_named_by_its_arn(server: str, tmp_path: Path) -> None:
    sweeps = Sweeps(tmp_path, ARN)
    sweeps.environ |= {
        "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT": server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "eu-west-1",
    }
    train = sweeps.folder / "train.py"
    train.write_text("import os\nassert 'MLFLOW_TRACKING_URI' not in os.environ\n" + train.read_text())
    out, err = sweeps.cli("run", "sweep.yaml", "--job", "job.yaml")
    assert "tracking.mlflow" not in err
    check(server, out.split()[0])
