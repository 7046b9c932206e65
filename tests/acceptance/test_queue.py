"""Agents that read invitations from a queue: real processes, and SQS emulated by moto."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smsweep.emulator.server import Emulator
from smsweep.errors import NotFound
from smsweep.remote import sqs
from smsweep.remote.sqs import Invitation
from smsweep.services import emulator
from smsweep.services.agents.queue import accept_invitations
from tests.support.account import client_of
from tests.support.working_dir import WorkingDir, grid

# Creates a file, then waits for the file that releases it.
TRAIN = """
import os, time, smsweep
run = smsweep.init()
with open(os.path.join(run.config.here, "started"), "a") as file:
    file.write(f"{run.config.x}\\n")
while os.path.exists(os.path.join(run.config.here, "wait")):
    time.sleep(0.02)
smsweep.log({"loss": run.config.x})
"""


class Account:
    """Emulated SQS and S3 on this machine."""

    def __init__(self, opened: Emulator) -> None:
        self.environ = {**opened.environ, "AWS_EC2_METADATA_DISABLED": "true"}
        self._endpoint = opened
        self.sqs = self.client("sqs")
        self.s3 = self.client("s3")
        self._make_queues({}, "")

    def make_fifo(self, by_content: str) -> None:
        """Replace the queues by FIFO queues. by_content: "true" for content-based deduplication."""
        self._make_queues({"FifoQueue": "true", "ContentBasedDeduplication": by_content}, ".fifo")

    def _make_queues(self, kind: dict[str, str], ending: str) -> None:
        self.graveyard = self.sqs.create_queue(QueueName=f"graveyard{ending}", Attributes=kind)["QueueUrl"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.graveyard, AttributeNames=["QueueArn"])
        policy = json.dumps({"deadLetterTargetArn": found["Attributes"]["QueueArn"], "maxReceiveCount": "5"})
        attributes = {**kind, "RedrivePolicy": policy}
        self.queue = self.sqs.create_queue(QueueName=f"sweeps{ending}", Attributes=attributes)["QueueUrl"]

    def client(self, service: str) -> Any:
        return client_of(self._endpoint, service)

    def count(self, queue: str | None = None, *, hidden: bool = False) -> int:
        name = "ApproximateNumberOfMessages" + ("NotVisible" if hidden else "")
        answer = self.sqs.get_queue_attributes(QueueUrl=queue or self.queue, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    environ = {"PATH": os.environ["PATH"], "SMSWEEP_DIR": str(tmp_path / "e")}
    with emulator.run_emulator(folder=tmp_path / "emulator", environ=environ) as opened:
        yield Account(opened)


@pytest.fixture
def workdir(tmp_path: Path, account: Account) -> WorkingDir:
    folder = tmp_path / "workdir"
    folder.mkdir()
    workdir = WorkingDir(folder, {"train.py": TRAIN, "sweep.yaml": grid(x=[1, 2, 3, 4], here=str(folder))})
    workdir.environ |= account.environ
    return workdir


def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def started(workdir: WorkingDir) -> list[str]:
    file = workdir.folder / "started"
    return sorted(file.read_text().split()) if file.exists() else []


def test_agents_process_published_invitations_and_exit(workdir: WorkingDir, account: Account) -> None:
    sweep_id = workdir.sweep()
    assert workdir.call("publish", sweep_id, "--queue", account.queue, "--agents", "12").stdout.strip() == sweep_id
    agents = [workdir.start("agent", "--queue", account.queue, "--wait", "1") for _ in range(2)]
    for agent in agents:
        _, output = agent.communicate(timeout=60)
        assert agent.returncode == 0, output
    assert started(workdir) == ["1", "2", "3", "4"]
    assert workdir.json("show", sweep_id)["state"] == "finished"
    assert (account.count(), account.count(hidden=True), account.count(account.graveyard)) == (0, 0, 0)


def test_machine_without_shared_folder_reads_source_from_s3(
    workdir: WorkingDir, account: Account, tmp_path: Path
) -> None:
    account.s3.create_bucket(Bucket="bucket")
    workdir.environ["SMSWEEP_STORE"] = f"sqlite:///{tmp_path / 'shared.db'}"
    sweep_id = workdir.sweep()
    workdir.call("publish", sweep_id, "--queue", account.queue, "--source", "s3://bucket/sources/")
    there = {"SMSWEEP_DIR": str(tmp_path / "there")}
    workdir.call("agent", "--queue", account.queue, "--wait", "0", environ=there)
    assert started(workdir) == ["1", "2", "3", "4"]


def test_agents_of_a_queue_call_the_function_that_was_sent(
    workdir: WorkingDir, account: Account, tmp_path: Path
) -> None:
    account.s3.create_bucket(Bucket="bucket")
    workdir.environ["SMSWEEP_STORE"] = f"sqlite:///{tmp_path / 'shared.db'}"
    script = """
import smsweep

def train():
    run = smsweep.init()
    print("called for", run.config.x)
    smsweep.log({"loss": run.config.x})

config = {"method": "grid", "metric": {"name": "loss"}, "parameters": {"x": {"values": [1, 2, 3]}}}
sweep_id = smsweep.sweep(config)
smsweep.agent(sweep_id, train, count=1, backend="process")
"""
    (workdir.folder / "send.py").write_text(script)
    done = workdir.call("send.py", command=[sys.executable])
    sweep_id = done.stdout.split()[-1]
    workdir.call("publish", sweep_id, "--queue", account.queue, "--source", "s3://bucket/sources/")
    there = {"SMSWEEP_DIR": str(tmp_path / "there")}
    workdir.call("agent", "--queue", account.queue, "--wait", "0", environ=there)
    assert [(trial["state"], trial["objective"]) for trial in workdir.trials(sweep_id)] == [
        ("finished", x) for x in (1, 2, 3)
    ]
    assert account.count(account.graveyard) == 0


def test_message_is_hidden_while_sweep_runs_and_visible_after_machine_exits(
    workdir: WorkingDir, account: Account
) -> None:
    (workdir.folder / "wait").touch()
    sweep_id = workdir.sweep()
    workdir.call("publish", sweep_id, "--queue", account.queue)
    with workdir.start("agent", "--queue", account.queue) as agent:
        until(lambda: started(workdir) == ["1"])
        assert (account.count(), account.count(hidden=True)) == (0, 1)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(60) == 143
    assert (account.count(), account.count(hidden=True)) == (1, 0)
    assert [trial["state"] for trial in workdir.trials(sweep_id)] == ["pending"]


def test_agent_without_message_exits_at_sigterm(workdir: WorkingDir, account: Account) -> None:
    workdir.sweep()
    with workdir.start("agent", "--queue", account.queue, "--wait", "600", "-v") as agent:
        time.sleep(2)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(30) in (143, -signal.SIGTERM)


def test_invalid_message_moves_to_dead_letter_queue_and_others_are_processed(
    workdir: WorkingDir, account: Account
) -> None:
    sweep_id = workdir.sweep()
    poison = ("nonsense", '{"smsweep": 1, "sweep": "../x"}', "[" * 9_000, '{"smsweep": 2}')
    account.send(*poison, Invitation(sweep_id=sweep_id).text())
    workdir.call("agent", "--queue", account.queue, "--wait", "1")
    assert started(workdir) == ["1", "2", "3", "4"]
    assert account.count(account.graveyard) == len(poison)
    found = account.sqs.receive_message(QueueUrl=account.graveyard, MessageAttributeNames=["All"])["Messages"][0]
    assert "invitation" in found["MessageAttributes"]["smsweep-reason"]["StringValue"]


@pytest.mark.parametrize("option", ["--detach", "--source=s3://bucket/x", "--kept-at=s3://bucket/x"])
def test_option_that_conflicts_with_queue_is_refused(workdir: WorkingDir, account: Account, option: str) -> None:
    refused = workdir.call("agent", "--queue", account.queue, option, code=2)
    assert "--queue cannot be combined with" in refused.stderr


@pytest.mark.parametrize("by_content", ["true", "false"])
def test_fifo_queue_delivers_every_invitation_at_once(
    workdir: WorkingDir, account: Account, by_content: str
) -> None:
    account.make_fifo(by_content)
    sweep_id = workdir.sweep()
    for _ in range(2):  # the second message is within the deduplication interval of SQS
        workdir.call("publish", sweep_id, "--queue", account.queue, "--agents", "11")
    assert account.count() == 22
    groups = set()
    while found := account.sqs.receive_message(
        QueueUrl=account.queue, AttributeNames=["MessageGroupId"], MaxNumberOfMessages=10
    ).get("Messages"):
        groups |= {message["Attributes"]["MessageGroupId"] for message in found}
    assert len(groups) == 22  # SQS delivers one message per group at a time
    account.sqs.send_message(
        QueueUrl=account.queue, MessageBody="nonsense", MessageGroupId="a", MessageDeduplicationId="b"
    )
    workdir.call("agent", "--queue", account.queue, "--wait", "1")
    assert account.count(account.graveyard) == 1


@pytest.fixture
def here(workdir: WorkingDir, monkeypatch: pytest.MonkeyPatch) -> WorkingDir:
    """The working directory as the current directory of this process."""
    monkeypatch.chdir(workdir.folder)
    for name, value in workdir.environ.items():
        monkeypatch.setenv(name, value)
    return workdir


def test_message_for_unknown_sweep_is_retried_then_moved_to_dead_letter_queue(
    here: WorkingDir, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqs, "RETRY_S", 0)
    account.send(Invitation(sweep_id="unknown1").text())
    asked: list[str] = []

    def work(sweep_id: str) -> int:
        asked.append(sweep_id)
        here.call("show", sweep_id, code=2)
        raise NotFound(sweep_id)

    here.sweep()
    assert accept_invitations(account.queue, work, patience_s=0) == 0
    assert asked == ["unknown1"] * 3
    assert account.count(account.graveyard) == 1


def test_message_visibility_is_extended_while_agent_works(
    here: WorkingDir, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqs, "HIDDEN_S", 1)
    monkeypatch.setattr("smsweep.services.agents.queue.HIDDEN_S", 1)
    account.send(Invitation(sweep_id="abcd1234").text())
    seen: list[int] = []

    def work(sweep_id: str) -> int:
        for _ in range(8):
            time.sleep(0.3)
            seen.append(account.count())
        return 0

    assert accept_invitations(account.queue, work, patience_s=0) == 0
    assert seen == [0] * 8
    assert account.count() == account.count(hidden=True) == 0
