"""Known secrets of the environment, in files where only their value identifies them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from smsweep.errors import SourceError
from smsweep.secrets.redact import known_secrets
from smsweep.services.agents.run_agent import agent
from smsweep.services.sweeps.create import sweep

KEY = hashlib.sha1(b"a key of nobody").hexdigest()
SWEEP = {"program": "train.py", "method": "grid", "parameters": {"lr": {"values": [1]}}}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path / "work"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    (tmp_path / "train.py").write_text("print('no secret')\n")
    return tmp_path


@pytest.mark.parametrize(
    ("config", "job"),
    [
        ({"description": f"as {KEY}"}, {}),
        ({"name": KEY}, {}),
        ({}, {"environment": {"PLAIN": KEY}}),
        ({}, {"tags": {"team": KEY}}),
        ({}, {"request": {"HyperParameters": {"other": KEY}}}),
    ],
)
def test_known_secret_stops_launch(config: dict[str, Any], job: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match="a secret that this machine knows") as caught:
        sweep({**SWEEP, **config}, job=job)
    assert KEY not in str(caught.value)


def test_known_secret_in_source_comment_stops_launch(place: Path) -> None:
    (place / "notes.md").write_text(f"# mine is {KEY}\n")
    with pytest.raises(SourceError, match=r"notes\.md:1"):
        sweep(SWEEP, backend="docker")


def test_known_secret_in_job_file_of_agent_stops_agent() -> None:
    sweep_id = sweep(SWEEP)
    with pytest.raises(SourceError, match="a secret that this machine knows"):
        agent(sweep_id, job={"environment": {"PLAIN": KEY}})


def test_common_word_with_secret_name_is_not_a_secret() -> None:
    assert known_secrets({"SORT_KEY": "validation_loss_of_all", "HOME": "/nowhere"}) == ()
