from __future__ import annotations

import logging
from pathlib import Path

import pytest

from smsweep.engine.wait_reason import read_wait_reason
from smsweep.errors import BackendUnavailable, CapacityError, JobError, QuotaExceeded, Throttled
from tests.support.agent_kit import Kit
from tests.support.scripted_backend import Plot, ScriptedBackend

GRID = {"method": "grid", "program": "train.py", "parameters": {"a": {"values": [1]}}}


@pytest.mark.parametrize(
    ("error", "kind", "limit"),
    [
        (QuotaExceeded("full", limit=3), "quota", 3),
        (CapacityError("none left"), "capacity", None),
        (BackendUnavailable("no answer"), "backend", None),
    ],
)
def test_wait_reason_is_stored_until_trial_has_its_job(
    tmp_path: Path, error: JobError, kind: str, limit: int | None
) -> None:
    kit = Kit(tmp_path, GRID)
    backend = ScriptedBackend(lambda trial: Plot(ends=False))
    backend.refusals = [error, error]
    agent = kit.agent(backend)
    agent.tick()
    found = read_wait_reason(kit.store, kit.trials()[0])
    assert found == {"for": kind, "reason": str(error), "limit": limit, "since": "2026-01-02T00:00:00+00:00"}
    kit.advance(60)
    agent.tick()
    assert read_wait_reason(kit.store, kit.trials()[0]) == found  # same time, logged once
    agent.tick()
    assert read_wait_reason(kit.store, kit.trials()[0]) is None


def test_throttled_submission_has_no_wait_reason(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    backend = ScriptedBackend(lambda trial: Plot(ends=False))
    backend.refusals = [Throttled("one a second")]
    kit.agent(backend).tick()
    assert read_wait_reason(kit.store, kit.trials()[0]) is None


def test_wait_reason_of_another_agent_is_ignored(tmp_path: Path) -> None:
    kit = Kit(tmp_path, GRID)
    backend = ScriptedBackend(lambda trial: Plot(ends=False))
    backend.refusals = [QuotaExceeded("full")]
    kit.agent(backend).tick()
    kit.advance(120)
    kit.agent(backend, agent_id="b").tick()
    assert kit.trials()[0].agent_id == "b"
    assert read_wait_reason(kit.store, kit.trials()[0]) is None


@pytest.mark.parametrize(
    ("error", "level"),
    [(BackendUnavailable("no answer"), logging.ERROR), (QuotaExceeded("full"), logging.WARNING)],
)
def test_wait_that_blocks_the_sweep_is_logged_as_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: JobError, level: int
) -> None:
    caplog.set_level(logging.INFO, logger="smsweep")  # a quiet command can have run in this process
    backend = ScriptedBackend(lambda trial: Plot(ends=False))
    backend.refusals = [error]
    Kit(tmp_path, GRID).agent(backend).tick()
    # levelname is not usable: the command line's handler changes it to lower case.
    assert [record.levelno for record in caplog.records if "waits" in record.message] == [level]
