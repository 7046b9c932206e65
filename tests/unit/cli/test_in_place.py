"""Trials in the original source folder: `--in-place`, and `in_place: true` in job.yaml."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import smsweep
from smsweep.errors import UsageError
from tests.unit.cli.conftest import SWEEP, Cli

pytestmark = pytest.mark.slow

TRAIN = """
import os, pathlib, sys, smsweep
factor = float(pathlib.Path("data/x.csv").read_text())
run = smsweep.init()
smsweep.log({"loss": factor * run.config["a"]})
pathlib.Path("checkpoints").mkdir(exist_ok=True)
pathlib.Path("checkpoints", f"{run.config['a']}.pt").write_bytes(bytes(2_000_000))
pathlib.Path("results.json").write_text("{}")
pathlib.Path(os.environ["SM_MODEL_DIR"], "model").touch()
print("in", os.getcwd())
"""


@pytest.fixture
def source(folder: Path) -> Path:
    """The folder of a user of W&B's agent: ignored data, a link to other data, and earlier runs."""
    (folder / "data").mkdir()
    (folder / "data" / "x.csv").write_text("2")
    (folder / ".gitignore").write_text("data/\n")
    (folder / "more").symlink_to("/usr/share")
    (folder / "broken").symlink_to("nowhere")
    (folder / "wandb" / "run-1").mkdir(parents=True)
    with (folder / "big.bin").open("wb") as file:
        file.truncate(300 * 1024**2)
    (folder / "train.py").write_text(TRAIN)
    (folder / "job.yaml").write_text("in_place: true\n")
    return folder


def bundles(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / ".smsweep" / "bundles").glob("*.tar.gz"))


def test_in_place_trials_run_in_the_original_folder(cli: Cli, source: Path) -> None:
    ended = cli("run", "sweep.yaml", "--in-place", "--parallel", "2")
    sweep_id = ended.out.strip()
    assert ended.code == 0
    assert f"trials run in {source}, not in a copy" in ended.err
    assert cli("logs", f"{sweep_id}/0").out == f"in {source}\n"
    assert (source / ".smsweep/jobs" / f"smsweep-{sweep_id}-0-0" / "ml/model/model").exists()
    assert json.loads(cli("show", sweep_id, "--json").out)["best"]["metrics"]["loss"] == 2
    # The files that trials wrote do not change the next source.
    again = cli("run", "sweep.yaml", "--job", "job.yaml", "--count", "1", "--reuse")
    assert again.code == 0, again.err
    assert len(bundles(source)) == 1
    (source / "more").unlink()
    (source / "broken").unlink()
    (source / "big.bin").unlink()
    copied = cli("sweep", "sweep.yaml")
    assert "does not include what in-place trials wrote: checkpoints, results.json" in copied.err
    assert len(bundles(source)) == 1


def test_changed_source_of_a_trial_is_recorded(cli: Cli, source: Path) -> None:
    sweep_id = cli("run", "sweep.yaml", "--in-place", "--count", "1").out.strip()
    (source / "sweep.yaml").write_text(SWEEP.replace("[1, 2, 4]", "[1, 2]"))  # for the next sweep
    assert "differs from the source" not in cli("agent", sweep_id, "--count", "1").err
    (source / "train.py").write_text(TRAIN.replace("factor * ", "3 * "))
    assert (
        f"{sweep_id}/2 runs a source that differs from the source of its sweep: train.py"
        in cli("agent", sweep_id).err
    )
    compared = json.loads(cli("diff", f"{sweep_id}/1", f"{sweep_id}/2", "--json").out)
    assert [file["name"] for file in compared["source"]["files"]] == ["train.py"]
    (source / "train.py").write_text("raise SystemExit(1)")
    shutil.move(source / "data", source / "moved")
    (source / ".gitignore").unlink()
    found = cli("reproduce", f"{sweep_id}/2", "--json")
    document = json.loads(found.out)
    assert document["source_hash"] == compared["source"]["b"]
    assert "data/x.csv" in document["reason"]["b"]  # it ran in a copy of the recorded source


def test_agent_chooses_the_folder(cli: Cli, source: Path) -> None:
    sweep_id = cli("sweep", "sweep.yaml", "--job", "job.yaml").out.strip()
    failed = cli("agent", sweep_id, "--no-in-place", "--count", "1")
    assert f"data/x.csv exists in {source}, but is not in the copy" in failed.err
    cli("agent", sweep_id, "--count", "1")
    assert cli("logs", f"{sweep_id}/1").out == f"in {source}\n"


def test_moved_folder_is_an_error_and_the_recorded_source_still_runs(cli: Cli, folder: Path) -> None:
    (folder / "code").mkdir()
    (folder / "train.py").rename(folder / "code" / "train.py")
    (folder / "job.yaml").write_text("in_place: true\nsource_dir: code\n")
    sweep_id = cli("sweep", "sweep.yaml", "--job", "job.yaml").out.strip()
    (folder / "code").rename(folder / "moved")
    gone = cli("agent", sweep_id)
    assert gone.code == 2
    assert f"{folder}/code was moved or deleted, or is on another machine" in gone.err
    assert f"smsweep agent {sweep_id} --no-in-place" in gone.err
    assert cli("agent", sweep_id, "--no-in-place", "--count", "1").code == 0


@pytest.mark.parametrize("backend", ["docker", "sagemaker", "batch"])
def test_other_backends_refuse_in_place(cli: Cli, source: Path, backend: str) -> None:
    ended = cli("run", "sweep.yaml", "--in-place", "--backend", backend)
    assert ended.code == 2
    assert "in_place: only processes of this machine run in the original folder" in ended.err
    assert not (source / ".smsweep").exists()


def test_remote_agent_refuses_in_place(cli: Cli, source: Path) -> None:
    sweep_id = cli("sweep", "sweep.yaml", "--job", "job.yaml").out.strip()
    ended = cli("agent", sweep_id, "--backend", "sagemaker", "--detach")
    assert ended.code == 2
    assert "in_place: only processes" in ended.err


def test_python_api_runs_in_place(source: Path) -> None:
    ids: list[str] = []
    smsweep.run("sweep.yaml", in_place=True, count=1, on_created=ids.append)
    assert (source / "checkpoints" / "1.pt").exists()
    with pytest.raises(UsageError, match="in_place: a function"):
        smsweep.agent(ids[0], lambda: None, in_place=True)


def test_inherited_secrets_env_is_not_used_in_place(cli: Cli, source: Path) -> None:
    (source / "secrets.env").write_text("LEAKED=1\n")
    (source / "train.py").write_text("import os; print(os.environ.get('LEAKED'))")
    sweep_id = cli("run", "sweep.yaml", "--in-place", "--count", "1").out.strip()
    assert cli("logs", f"{sweep_id}/0").out == "None\n"
    (source / "job.yaml").write_text("in_place: true\nsecrets_env: true\n")
    assert "secrets_env: has no effect with in_place" in cli("sweep", "sweep.yaml", "--job", "job.yaml").err


def test_outputs_of_commands_do_not_change_the_source(cli: Cli, folder: Path, ran: str) -> None:
    first = json.loads(cli("sweep", "sweep.yaml", "--json").out)["source_hash"]
    cli("export", ran, "--to", "t.csv")
    (folder / "ui.json").write_text(
        json.dumps({"url": "u", "token": "-".join(["xK9mQ2vR7tL4"] * 3), "entry": "e"})
    )
    (folder / "trials.json").write_text(cli("trials", ran, "--json").out)
    (folder / "plan.json").write_text(cli("plan", "sweep.yaml", "--json").out)
    (folder / "slurm-17_1.out").touch()
    shown = json.loads(cli("sweep", "sweep.yaml", "--json").out)
    assert shown["source_hash"] == first
