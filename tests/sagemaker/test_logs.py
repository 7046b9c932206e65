"""Logs of SageMaker jobs while they grow, and logs with many pages."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest

from smsweep.services.agents import run_agent
from smsweep.services.sweeps import create
from smsweep.services.views import logs as log_views
from smsweep.services.views.logs import LogPages
from smsweep.services.workspace import Workspace
from tests.sagemaker.conftest import Account

SLOW = """
import smsweep, time
for number in range(20):
    print("line", number, flush=True)
    time.sleep(0.1)
smsweep.log({"loss": 1})
"""
LINES = [f"line {number}" for number in range(20)]


@pytest.mark.parametrize("backend", ["sagemaker", "batch"])
def test_log_is_followed_to_its_end(account: Account, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSWEEP_BATCH_QUEUE", "any")
    (account.folder / "train.py").write_text(SLOW)
    sweep_id = create.sweep(account.sweep(1), job=account.job)
    agent = threading.Thread(target=run_agent.agent, args=(sweep_id,), kwargs={"backend": backend})
    agent.start()
    try:
        while not account.trials():
            time.sleep(0.001)  # the trial may not be claimed yet
        assert list(log_views.read_log(f"{sweep_id}/0", follow=True)) == LINES
    finally:
        agent.join()


def test_repeated_page_continues_the_log(account: Account) -> None:
    (account.folder / "train.py").write_text(SLOW)
    sweep_id = create.sweep(account.sweep(1), job=account.job)
    agent = threading.Thread(target=run_agent.agent, args=(sweep_id,), kwargs={"backend": "sagemaker"})
    agent.start()
    lines: list[str] = []
    try:
        while not (account.trials() and account.trials()[0].job_name):
            agent.join(0.05)
        with Workspace().store() as store, closing(LogPages(Workspace())) as pages:
            sweep, cursor = store.get_sweep(sweep_id), ""
            while True:
                (trial,) = account.trials()
                page = pages.page(sweep, trial.job_name, trial.place or "sagemaker@us-east-1", cursor)
                lines += page["lines"]
                cursor = page["cursor"]
                if page["is_last"]:
                    break
                agent.join(0.05)
    finally:
        agent.join()
    assert lines == LINES


def test_reader_does_not_consume_events_of_the_agent(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    (account.folder / "train.py").write_text(SLOW)
    sqs = account.client("sqs")
    queue = sqs.create_queue(QueueName="events")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="for the agent")
    sweep_id = create.sweep(account.sweep(1), job=account.job)
    agent = threading.Thread(target=run_agent.agent, args=(sweep_id,), kwargs={"backend": "sagemaker"})
    agent.start()
    try:
        while not account.trials():
            agent.join(0.05)
        monkeypatch.setenv("SMSWEEP_SAGEMAKER_EVENTS", queue)
        assert list(log_views.read_log(f"{sweep_id}/0", follow=True)) == LINES
    finally:
        agent.join()
    assert sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "for the agent"


def test_logs_are_read_in_turn(account: Account) -> None:
    account.run(1)
    account.emulator.faults.set({"throttle": {"DescribeTrainingJob": 0.3, "FilterLogEvents": 0.3}})
    for _ in range(3):
        assert list(log_views.read_log(account.trials()[0].label)) == ["x is 0"]


def test_log_with_many_pages_is_complete(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    (account.folder / "train.py").write_text("for number in range(25_000): print('line', number)")
    account.run(1)
    monkeypatch.setenv("SMSWEEP_SAGEMAKER_RATES", "logs=1")
    lines = list(log_views.read_log(account.trials()[0].label))
    assert lines == [f"line {number}" for number in range(25_000)]
