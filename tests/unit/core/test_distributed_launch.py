"""Start command of a script for the distributed launch of an estimator or of job.yaml."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smsweep.config_files.job_yaml import parse_job
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.distributed_launch import launch, torchrun
from smsweep.core.job import Site
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.engine.job_request import training_job
from smsweep.errors import ConfigError
from smsweep.services.sweeps.load import EstimatorJob, with_command
from smsweep.services.sweeps.plan import plan

SWEEP = {"method": "grid", "program": "train.py", "parameters": {"lr": {"values": [1]}}}
JOB = EstimatorJob(document={}, program="train.py", command=torchrun({"InstanceCount": 1}), backend="sagemaker")
SITE = Site(assets_uri="s3://a", output_uri="s3://b", checkpoint_uri="s3://c")
OWN = ["accelerate", "launch", "${program}"]


def test_sweep_without_command_uses_command_of_estimator() -> None:
    assert with_command(parse_sweep(SWEEP), JOB).config.command[0] == "torchrun"


def test_command_of_sweep_is_kept() -> None:
    parsed = parse_sweep({**SWEEP, "command": OWN})
    assert with_command(parsed, JOB).config.command == parsed.config.command


def test_shell_script_is_not_started_with_python() -> None:
    job = EstimatorJob(document={}, program="run.sh", command=(), backend="sagemaker")
    assert with_command(parse_sweep({**SWEEP, "program": "run.sh"}), job).config.command[0] == "bash"
    assert with_command(parse_sweep(SWEEP), job).config.command == parse_sweep(SWEEP).config.command
    own = parse_sweep({**SWEEP, "program": "run.sh", "command": ["sh", "${program}"]})
    assert with_command(own, job).config.command == own.config.command


def test_hosts_of_all_instance_groups_are_counted() -> None:
    resources = {"InstanceGroups": [{"InstanceCount": 1}, {"InstanceCount": 2}]}
    assert "--nnodes=3" in torchrun(resources)


def test_hosts_of_instance_preference_are_counted() -> None:
    resources = {"InstancePreferences": [{"InstanceCount": 2}, {"InstanceCount": 2}]}
    assert "--nnodes=2" in torchrun(resources)
    with pytest.raises(ValueError, match="mpi on several instances"):
        launch({"mpi": {"enabled": True, "processes_per_host": 8}}, resources)


def test_several_hosts_meet_at_the_first_one_by_its_name() -> None:
    assert torchrun({"InstanceCount": 2}) == (
        "torchrun",
        "--nnodes=2",
        "--node_rank=${envvar:SMSWEEP_NODE_RANK}",
        "--master_addr=algo-1",
        "--master_port=7777",
        "--nproc_per_node=auto",
        "${program}",
        "${args}",
    )


def test_plan_shows_launch_command_of_first_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()
    job = {
        "instance_type": "ml.g5.xlarge",
        "instance_count": 2,
        "distribution": {"torch_distributed": {"enabled": True}},
    }
    planned = plan(SWEEP, job=job, backend="process", environ={})
    assert planned.trials[0].argv[2] == "--node_rank=0"
    assert not [warning for warning in planned.warnings if "NODE_RANK" in warning]


def test_preferences_with_different_instance_counts_raise() -> None:
    with pytest.raises(ValueError, match="the same number"):
        torchrun({"InstancePreferences": [{"InstanceCount": 2}, {}]})


def test_disabled_distribution_is_ignored() -> None:
    given = {
        "torch_distributed": {"enabled": True},
        "mpi": {"enabled": False, "processes_per_host": 8},
        "smdistributed": {"dataparallel": {"enabled": False}},
    }
    assert launch(given, {"InstanceCount": 2}) == torchrun({"InstanceCount": 2})


def test_no_enabled_distribution_gives_no_command() -> None:
    assert launch({"torch_distributed": {"enabled": False}}, {}) == ()


def test_mpi_on_one_host_starts_processes_per_host() -> None:
    options = {"enabled": True, "processes_per_host": 4, "custom_mpi_options": "-x 'A=b c' --verbose"}
    command = launch({"mpi": options}, {"InstanceCount": 1})
    assert command[0] == "mpirun"
    assert command[2:6] == ("--host", "localhost:4", "-np", "4")
    assert command[-8:] == ("-x", "A=b c", "--verbose", "python3", "-m", "mpi4py", "${program}", "${args}")


@pytest.mark.parametrize(
    ("distribution", "n_hosts", "message"),
    [
        ({"mpi": {"enabled": True, "processes_per_host": 8}}, 2, "mpi on several instances"),
        ({"mpi": {"enabled": True}}, 1, "processes_per_host"),
        ({"smdistributed": {"dataparallel": {"enabled": True}}}, 1, "smdistributed is a launch that only"),
        ({"mpi": {"enabled": True}, "pytorchddp": {"enabled": True}}, 1, "keep one"),
    ],
)
def test_launch_that_needs_the_toolkit_raises(distribution: dict[str, Any], n_hosts: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        launch(distribution, {"InstanceCount": n_hosts})


def test_job_yaml_accepts_distribution_of_sdk() -> None:
    job = {
        "instance_type": "ml.g5.xlarge",
        "instance_count": 2,
        "distribution": {"torch_distributed": {"enabled": True}},
    }
    assert _started(SWEEP, job)[:2] == ["torchrun", "--nnodes=2"]
    assert _started({**SWEEP, "command": OWN}, job) == OWN


def test_plan_shows_launch_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()
    planned = plan(SWEEP, job={"distribution": {"pytorchddp": {"enabled": True}}}, backend="process")
    assert planned.trials[0].argv == ("torchrun", "--standalone", "--nproc_per_node=auto", "train.py", "--lr=1")


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        ({"mpi": {"enabled": True}}, "distribution: mpi needs the number of processes"),
        ({"torch_distrbuted": {"enabled": True}}, "did you mean torch_distributed"),
        ({"torch_distributed": {"enabled": "yes"}}, "expected true or false"),
    ],
)
def test_job_yaml_with_impossible_distribution_raises(distribution: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_job({"distribution": distribution})


def _started(sweep: dict[str, Any], job: dict[str, Any]) -> list[str]:
    """Return the command in a trial's request."""
    request = training_job(
        parse_job(job).template,
        Sweep(id="abcd1234", config=parse_sweep(sweep).config),
        Trial(sweep_id="abcd1234", number=0, params={"lr": 1}),
        SITE,
    )
    command: list[str] = json.loads(request["HyperParameters"]["smsweep"])["command"]
    return command
