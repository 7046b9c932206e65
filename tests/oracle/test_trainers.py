"""The examples of LightningCLI and of the Hugging Face Trainer: metrics, and checkpoints of a killed trial."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from smsweep.api.api import Api
from smsweep.config_files.job_yaml import read_job
from smsweep.config_files.sweep_yaml import read_sweep
from smsweep.core.trial import TrialState
from smsweep.services.agents.run_agent import run
from tests.support.markdown import blocks
from tests.support.working_dir import use_own_workspace
from tools.environments import ROOT, oracle

EXAMPLES = ROOT / "examples"
# Runs an unchanged train.py, and kills the first attempt of the first trial at the start of its third epoch.
KILLED = """
import os, runpy, signal, sys

import torch.distributed

# Debian's PyTorch 1.13 cannot import its sharded tensors on Python 3.11.
torch.distributed.is_available = lambda: False


def kill(epoch):
    if epoch == 2 and (os.environ["SMSWEEP_TRIAL"], os.environ["SMSWEEP_ATTEMPT"]) == ("0", "0"):
        os.kill(os.getpid(), signal.SIGKILL)


if "fit" in sys.argv:
    import lightning

    lightning.LightningModule.on_train_epoch_start = lambda module: kill(module.current_epoch)
else:
    import transformers.trainer

    class Kill(transformers.TrainerCallback):
        def on_epoch_begin(self, args, state, control, **more):
            kill(round(state.epoch))

    transformers.trainer.DEFAULT_CALLBACKS.append(Kill)
runpy.run_path("train.py", run_name="__main__")
"""
N_EPOCHS = 4
# metric of the sweep, params of two trials, steps of the metric
CASES: dict[str, tuple[str, Mapping[str, Sequence[float]], list[int]]] = {
    "lightning": (
        "val_loss",
        {"model.lr": [0.01, 0.02], "data.batch_size": [60], "trainer.max_epochs": [N_EPOCHS]},
        [9, 19, 29, 39],
    ),
    "huggingface": (
        "eval/loss",
        {"learning_rate": [1e-3, 5e-3], "per_device_train_batch_size": [16], "num_train_epochs": [N_EPOCHS]},
        [20, 40, 60, 80],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_example_files_are_valid(name: str) -> None:
    parsed = read_sweep(EXAMPLES / name / "sweep.yaml")
    assert (parsed.warnings, parsed.config.program, parsed.config.run_cap) == ((), "train.py", 9)
    assert read_job(EXAMPLES / name / "job.yaml").template.source_dir == str(EXAMPLES / name / "source")


def test_documented_function_is_the_one_of_the_script() -> None:
    (block,) = [block for block in blocks(ROOT / "docs" / "trainers.md") if block.language == "python"]
    _, _, function = block.text.partition("\n\n\n")
    assert function.strip() in (EXAMPLES / "huggingface" / "source" / "train.py").read_text()


@pytest.mark.oracle
@pytest.mark.parametrize("name", CASES)
def test_metrics_are_recorded_and_killed_trial_continues_from_checkpoint(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = str(oracle("trainers").python)
    metric, params, steps = CASES[name]
    example = shutil.copytree(EXAMPLES / name, tmp_path / "example")
    (example / "source" / "run.py").write_text(KILLED)
    with (example / "job.yaml").open("a") as job:
        job.write("retries: {oom: 1}\n")  # a SIGKILL from outside counts as missing memory
    use_own_workspace(example, monkeypatch)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ids: list[str] = []
    outcome = run(grid_of(example, python, params), job=example / "job.yaml", parallel=2, on_created=ids.append)
    assert outcome.ended == {TrialState.FINISHED: 2}
    first, second = sorted(Api().sweep(ids[0]).runs, key=lambda run: run.id)
    assert (first.trial.attempt, second.trial.attempt) == (1, 0)
    for trial in (first, second):
        history = [(row["_step"], float(row[metric] or 0)) for row in trial.scan_history(keys=["_step", metric])]
        assert [step for step, _ in history] == steps
        assert history[-1][1] < history[0][1]
    jobs = example / "sweeps" / "jobs"
    before, after = ((jobs / f"smsweep-{ids[0]}-0-{k}" / "output.log").read_text() for k in (0, 1))
    assert reported_steps(before, metric) == steps[:2]
    assert reported_steps(after, metric) == steps[2:]  # training continued instead of starting again


def grid_of(example: Path, python: str, params: Mapping[str, Sequence[float]]) -> dict[str, object]:
    """Return the example's sweep with the params of a short grid, and with this interpreter."""
    config = read_sweep(example / "sweep.yaml").config
    return {
        "program": "run.py",
        "method": "grid",
        "metric": {"name": config.metric.name if config.metric else "", "goal": "minimize"},
        "command": [python if word == "${interpreter}" else word for word in config.command or ()],
        "parameters": {key: {"values": values} for key, values in params.items()},
    }


def reported_steps(log: str, metric: str) -> list[int]:
    """Return the steps at which a job reported a metric."""
    return [int(step) for step in re.findall(rf'"step": (\d+), "time": [\d.]+, "metrics": {{"{metric}"', log)]
