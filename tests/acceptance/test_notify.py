"""Notifications: real sweeps, a real HTTP server on loopback, real commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import smsweep
from tests.support.walkthrough import SMSWEEP

TRAIN = """
import argparse, smsweep, time
parser = argparse.ArgumentParser()
parser.add_argument("--a", type=int)
a = parser.parse_known_args()[0].a
smsweep.log({"loss": 10 / a})
time.sleep(0.05)
if a > 2:
    raise ValueError(f"<!channel> {a} is too much, s3cr3t-w0rd")
"""
SWEEP = """
program: train.py
name: tiny
method: grid
metric: {name: loss, goal: minimize}
parameters: {a: {values: [1, 2, 3, 4]}}
"""

Data = dict[str, Any]


@dataclass(slots=True)
class Receiver:
    url: str = ""
    got: list[Data] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)  # first responses: status, or 0 for none; then 200
    delay_s: float = 0.0

    def events(self) -> list[str]:
        return [event["event"] for event in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(state.delay_s)
            status = state.answers.pop(0) if state.answers else 200
            if status == 200:
                state.got.append(json.loads(body))
            state.headers.append({**self.headers, "path": self.path})
            if not status:
                return
            self.send_response(status)
            if status == 302:
                self.send_header("Location", state.url)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/hook/k3y-in-path"
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("SMSWEEP_STORE", "SMSWEEP_NOTIFY", "SMSWEEP_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path / "home"))
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    return tmp_path


def cli(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SMSWEEP, *words],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )


def job(folder: Path, text: str) -> list[str]:
    (folder / "job.yaml").write_text(text)
    return ["--job", "job.yaml"]


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_webhook_receives_first_failure_and_end_of_sweep(folder: Path, receiver: Receiver) -> None:
    words = job(folder, "notify: {url: 'env:HOOK', headers: {Authorization: 'env:HOOK_TOKEN'}}\n")
    values = {"HOOK": receiver.url, "HOOK_TOKEN": "Bearer t0ken-t0ken", "SMSWEEP_ALLOW_CODE": "1"}
    ended = cli("run", "sweep.yaml", *words, "--parallel", "2", **values)
    assert ended.returncode == 0, ended.stderr
    assert receiver.events() == ["trial_failure", "sweep_end"]
    failure, end = receiver.got
    assert (failure["trial"]["state"], failure["trial"]["exit_code"]) == ("failed", 1)
    assert failure["text"].startswith(f"sweep tiny ({ended.stdout.strip()}): trial {ended.stdout.strip()}/")
    assert "\nTraceback (most recent call last):\n" in failure["text"]
    assert end["sweep"]["state"] == "finished"
    assert end["sweep"]["trials"] == {"failed": 2, "finished": 2}
    assert end["sweep"]["best"]["number"] == 1
    assert "2 finished, 2 failed; best" in end["text"]
    assert receiver.headers[0]["Authorization"] == "Bearer t0ken-t0ken"
    assert receiver.headers[0]["Content-Type"] == "application/json"


def test_notification_text_has_no_mention_and_no_secret(folder: Path, receiver: Receiver) -> None:
    ended = cli("run", "sweep.yaml", "--notify", "env:HOOK", "--quiet", HOOK=receiver.url, MY_TOKEN="s3cr3t-w0rd")
    assert "<!channel>" not in receiver.got[0]["text"]
    assert "&lt;!channel&gt; 3 is too much" in receiver.got[0]["text"]
    assert "s3cr3t-w0rd" not in json.dumps(receiver.got)
    store = (folder / "home" / "store.db").read_bytes()
    assert b"k3y-in-path" not in store + ended.stderr.encode() + ended.stdout.encode()


def test_command_receives_event_without_shell(folder: Path) -> None:
    (folder / "hook.py").write_text(
        "import json, os, sys\n"
        "with open('told.jsonl', 'a') as file:\n"
        "    print(json.dumps([sys.argv[1:], json.load(sys.stdin), os.environ['SMSWEEP_EVENT_ID']]), file=file)\n"
        "print('on stdout')\n"
    )
    command = json.dumps([sys.executable, "hook.py", "$(touch hacked); `id` > x"])
    words = job(folder, f"notify:\n  - command: {command}\n    events: end\n")
    ended = cli("run", "sweep.yaml", *words, SMSWEEP_ALLOW_CODE="1")
    (result,) = [json.loads(line) for line in (folder / "told.jsonl").read_text().splitlines()]
    assert result[0] == ["$(touch hacked); `id` > x"]
    assert result[1]["event"] == "sweep_end"
    assert result[2].startswith(ended.stdout.strip())
    assert not (folder / "hacked").exists()
    assert "on stdout" not in ended.stdout


def test_notify_flag_accepts_command_line(folder: Path) -> None:
    (folder / "hook.py").write_text("import sys; open('said ' + sys.argv[1], 'w').write(sys.stdin.read())\n")
    cli("run", "sweep.yaml", "--notify", f"{sys.executable} hook.py 'a b'")
    assert json.loads((folder / "said a b").read_text())["event"] == "sweep_end"


def test_each_event_arrives_once_with_several_agents(folder: Path, receiver: Receiver) -> None:
    (folder / "sweep.yaml").write_text(SWEEP.replace("[1, 2, 3, 4]", "[1, 2, 3, 4, 5, 6, 7, 8]"))
    sweep_id = cli("sweep", "sweep.yaml", *job(folder, "notify: env:HOOK\n")).stdout.strip()
    command = [sys.executable, "-m", "smsweep.cli.main", "agent", sweep_id, "-q"]
    agents = [subprocess.Popen(command, env={**os.environ, "HOOK": receiver.url}) for _ in range(3)]
    for agent in agents:
        agent.wait(100)
    cli("agent", sweep_id, HOOK=receiver.url)
    assert sorted(receiver.events()) == ["sweep_end", "trial_failure"]


def test_next_agent_sends_events_of_killed_agent(folder: Path, receiver: Receiver) -> None:
    words = job(folder, "notify: env:HOOK\n")
    sweep_id = cli("run", "sweep.yaml", *words, "-q").stdout.strip()  # without the variable: none is sent
    assert receiver.got == []
    note = smsweep.Api().sweep(sweep_id)
    assert note.state == "finished"
    cli("agent", sweep_id, "--notify", receiver.url)
    assert receiver.events() == ["trial_failure", "sweep_end"]


def test_resumed_sweep_sends_second_end_event(folder: Path, receiver: Receiver) -> None:
    sweep_id = cli("run", "sweep.yaml", "--notify", receiver.url, "-q").stdout.strip()
    cli("sweep", "--resume", sweep_id)
    cli("agent", sweep_id, "--notify", receiver.url)  # no trial is left
    assert receiver.events().count("sweep_end") == 1
    cli("retry", sweep_id, "--failed")
    cli("sweep", "--resume", sweep_id)
    cli("agent", sweep_id, SMSWEEP_NOTIFY=receiver.url)
    assert receiver.events() == ["trial_failure", "sweep_end", "sweep_end"]


@pytest.mark.parametrize(
    ("answers", "n_asked", "message"),
    [
        ([503, 429], 4, ""),
        ([500] * 3, 4, "answered 500"),
        ([404], 2, "answered 404"),
        ([302], 2, "answered 302"),
        ([0], 2, "no answer"),
    ],
)
def test_rejected_event_is_sent_again(
    folder: Path, receiver: Receiver, answers: list[int], n_asked: int, message: str
) -> None:
    receiver.answers = list(answers)
    ended = cli("run", "sweep.yaml", "--notify", receiver.url)
    assert ended.returncode == 0, ended.stderr
    assert len(receiver.headers) == n_asked
    assert len({headers["Idempotency-Key"] for headers in receiver.headers}) == 2
    assert message in ended.stderr
    assert "k3y-in-path" not in ended.stderr


BROKEN = {
    "no listener": "http://127.0.0.1:9/x",
    "no such host": "https://nowhere.invalid/x",
    "no such program": "no-such-program",
    "a command that fails": f"{sys.executable} -c 'raise SystemExit(3)'",
    "a variable that is not set": "env:NOT_SET_AT_ALL",
    "a variable that holds no URL": "env:HOME",
}


@pytest.mark.parametrize("hook", BROKEN.values(), ids=BROKEN.keys())
def test_failing_hook_does_not_affect_sweep(folder: Path, hook: str) -> None:
    ended = cli("run", "sweep.yaml", "--notify", hook, "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["trials"] == {"failed": 2, "finished": 2}
    assert "notif" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_slow_hook_does_not_slow_trials(folder: Path, receiver: Receiver) -> None:
    (folder / "sweep.yaml").write_text(SWEEP.replace("[1, 2, 3, 4]", "[3, 1, 2]"))
    receiver.delay_s = 10
    cli("run", "sweep.yaml", "--notify", receiver.url)
    runs = smsweep.Api().sweeps()[0].runs
    first, last = runs[0].trial, runs[-1].trial
    assert first.ended_at is not None and last.ended_at is not None
    assert (last.ended_at - first.ended_at).total_seconds() < 10
    assert receiver.events() == ["trial_failure", "sweep_end"]


def test_cancelled_sweep_sends_end_event(folder: Path, receiver: Receiver) -> None:
    (folder / "train.py").write_text("import time\ntime.sleep(60)\n")
    sweep_id = cli("sweep", "sweep.yaml").stdout.strip()
    command = [sys.executable, "-m", "smsweep.cli.main", "agent", sweep_id, "--notify", receiver.url]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as agent:
        wait_until(lambda: any(run.state == "running" for run in smsweep.Api().sweep(sweep_id).runs))
        cli("sweep", "--cancel", sweep_id)
        agent.wait(60)
    assert [event["sweep"]["state"] for event in receiver.got] == ["cancelled"]


def test_interrupted_agent_sends_no_end_event(folder: Path, receiver: Receiver) -> None:
    (folder / "train.py").write_text("import time\ntime.sleep(60)\n")
    sweep_id = cli("sweep", "sweep.yaml").stdout.strip()
    command = [sys.executable, "-m", "smsweep.cli.main", "agent", sweep_id, "--notify", receiver.url]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as agent:
        wait_until(lambda: any(run.state == "running" for run in smsweep.Api().sweep(sweep_id).runs))
        agent.send_signal(signal.SIGTERM)
        agent.wait(60)
    assert receiver.got == []


def test_detached_agent_sends_events(folder: Path, receiver: Receiver) -> None:
    ended = cli("run", "sweep.yaml", "--detach", "--notify", receiver.url)
    assert ended.returncode == 0, ended.stderr
    wait_until(lambda: "sweep_end" in receiver.events())
    assert receiver.events() == ["trial_failure", "sweep_end"]


def test_from_python(folder: Path, receiver: Receiver) -> None:
    def train() -> None:
        smsweep.log({"loss": 1.0})

    sweep_id = smsweep.sweep({"method": "grid", "parameters": {"a": {"value": 1}}})
    smsweep.agent(sweep_id, function=train, notify=[{"url": receiver.url, "events": ["end"]}])
    assert receiver.events() == ["sweep_end"]
