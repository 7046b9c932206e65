"""An engine that cannot be used is reported before a sweep is created."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

import smsweep
from smsweep.backends.docker import engine
from smsweep.backends.docker.engine import DEFAULT_IMAGE
from smsweep.backends.docker.images import how_to_get
from smsweep.errors import SmsweepError
from smsweep.services.sweeps.plan import plan
from tests.support.working_dir import grid, use_own_workspace

SWEEP = grid(x=[1, 2])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.py").touch()
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "SMSWEEP_DOCKER_IMAGE"):
        monkeypatch.delenv(name, raising=False)
    return use_own_workspace(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"DOCKER_HOST": "unix:///no/such.sock"}, "no socket at /no/such.sock; start Docker"),
        (
            {"DOCKER_HOST": "tcp://127.0.0.1:9"},
            r"no answer from .*127.0.0.1:9 \(Connection refused\); start Docker there",
        ),
        ({"DOCKER_HOST": "nonsense"}, "DOCKER_HOST: Invalid bind address format: .*; expected a URL"),
        ({"DOCKER_CONTEXT": "nowhere"}, "Docker context nowhere does not exist; choose one with `docker context"),
    ],
)
def test_unusable_engine_is_reported_before_the_sweep_is_created(
    folder: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], message: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SmsweepError, match=message):
        smsweep.run(SWEEP, backend="docker")
    assert not (folder / "sweeps").exists()


def test_agent_and_plan_report_an_unusable_engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such.sock")
    sweep_id = smsweep.sweep(SWEEP)
    with pytest.raises(SmsweepError, match="start Docker"):
        smsweep.agent(sweep_id, backend="docker")
    assert list(smsweep.Api().sweep(sweep_id).runs) == []
    with pytest.raises(SmsweepError, match="start Docker"):
        plan(SWEEP, backend="docker")


def test_engine_that_hangs_is_reported_soon(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "GREETING_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as hung:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{hung.getsockname()[1]}")
        with pytest.raises(SmsweepError, match=r"no answer from .* \(timed out\)"):
            smsweep.run(SWEEP, backend="docker")


def test_error_for_the_default_image_names_both_settings() -> None:
    assert how_to_get(DEFAULT_IMAGE).endswith(
        "set `image_uri` in job.yaml or SMSWEEP_DOCKER_IMAGE to another image"
    )
