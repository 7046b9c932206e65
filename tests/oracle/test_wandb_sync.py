"""W&B's own client uploads offline runs. The server is emulated."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from smsweep.api.api import Api
from smsweep.errors import NotFound
from smsweep.services.agents import run_agent
from smsweep.services.sweeps.create import sweep
from smsweep.services.wandb import sync
from tests.support.wandb_server import FakeWandb, fake_wandb
from tools.environments import oracle

pytestmark = pytest.mark.oracle

CONFIG = {
    "program": "train.py",
    "method": "grid",
    "name": "digits",
    "project": "mine",
    "parameters": {"lr": {"values": [0.5, 0.25]}},
}
SCRIPT = "import wandb\nrun = wandb.init()\nfor step in range(3): run.log({'loss': run.config.lr * step})\n"
# Fails twice, and continues from its checkpoint.
FAILING = """
import os, pathlib, sys, wandb
run = wandb.init()
file = pathlib.Path(os.environ["SMSWEEP_ML_ROOT"], "checkpoints", "epoch")
begin = int(file.read_text()) if file.exists() else 0
for epoch in range(begin, 6):
    run.log({"epoch": epoch, "resumed": run.resumed})
    file.write_text(str(epoch + 1))
    if epoch % 2 and epoch < 5:
        sys.exit(1)
"""


@pytest.fixture
def server() -> Iterator[FakeWandb]:
    with fake_wandb() as served:
        yield served


@pytest.fixture(scope="module", params=["wandb", "wandb-0.16"])
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The id and the folder of a sweep of two ended trials that ran without a key, with one version of wandb."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_wandb(request.param, folder, monkeypatch)
        (folder / "train.py").write_text(SCRIPT)
        created = sweep(CONFIG, job={"environment": {"PATH": os.environ["PATH"]}})
        run_agent.agent(created, parallel=2)
    yield created, folder


@pytest.fixture
def sweep_id(
    ended: tuple[str, Path],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The ended sweep in a folder of its own. `wandb` is the parametrized version."""
    created, folder = ended
    shutil.copytree(folder, tmp_path, symlinks=True, dirs_exist_ok=True)
    use_wandb(request.node.callspec.params["ended"], tmp_path, monkeypatch)
    return created


def use_wandb(version: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with a version of wandb, without settings of smsweep and wandb."""
    for name in [name for name in os.environ if name.startswith(("SMSWEEP_", "WANDB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{oracle(version).python.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(folder)


def test_runs_of_sweep_are_uploaded_once(
    sweep_id: str, server: FakeWandb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    uploaded = sync.sync(sweep_id, entity="team")
    assert [folder.name.rpartition(sweep_id)[2] for folder in uploaded] == ["-0", "-1"]
    runs = {name: (run.group, [row["loss"] for row in run.history]) for name, run in server.runs.items()}
    assert runs == {f"{sweep_id}-0": (sweep_id, [0, 0.5, 1]), f"{sweep_id}-1": (sweep_id, [0, 0.25, 0.5])}
    result = {(each["entity"], each["project"]) for name, each in server.calls if name == "UpsertBucket"}
    assert result == {("team", "mine")}
    assert sync.sync(sweep_id) == []


def test_runs_started_in_same_second_are_all_uploaded(
    sweep_id: str, server: FakeWandb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (first,) = tmp_path.glob(f".smsweep/jobs/*/ml/output/data/wandb/offline-run-*-{sweep_id}-0")
    shutil.copytree(first, f"{first}-1")
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    uploaded = sync.sync(f"{sweep_id}/0")
    assert [folder.name.rpartition(sweep_id)[2] for folder in uploaded] == ["-0", "-0-1"]
    assert set(server.runs) == {f"{sweep_id}-0"}


@pytest.mark.parametrize("version", ["wandb", "wandb-0.16"])
def test_failed_run_resumes_and_keeps_its_history(
    version: str, server: FakeWandb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_wandb(version, tmp_path, monkeypatch)
    (tmp_path / "train.py").write_text(FAILING)
    job = {"environment": {"PATH": os.environ["PATH"]}, "retries": {"user": 2}}
    sweep_id = sweep({**CONFIG, "parameters": {"lr": {"value": 1}}}, job=job)
    run_agent.agent(sweep_id)
    (trial,) = Api().sweep(sweep_id).runs
    assert (trial.state, trial.trial.attempt) == ("finished", 2)
    rows = [(row["_step"], row["epoch"], row["resumed"]) for row in trial.scan_history()]
    assert rows == [(0, 0, False), (1, 1, False), (2, 2, True), (3, 3, True), (4, 4, True), (5, 5, True)]
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    sync.sync(sweep_id)
    uploaded = sorted((row["_step"], row["epoch"]) for row in server.runs[f"{sweep_id}-0"].history)
    assert uploaded == [(step, epoch) for step, epoch, _ in rows]


def test_sweep_without_offline_runs_is_error(sweep_id: str, tmp_path: Path) -> None:
    for file in tmp_path.glob(".smsweep/jobs/*/ml/output/data/wandb"):
        file.rename(file.with_name("elsewhere"))
    with pytest.raises(NotFound, match="no offline W&B runs"):
        sync.sync(sweep_id)
