"""From an estimator's distributed launch to a sweep's command."""

from __future__ import annotations

from smsweep.config.sweep_yaml import parse_sweep
from smsweep.estimators.launcher import chosen, torchrun
from smsweep.sdk.create import with_command
from smsweep.sdk.estimators import EstimatorJob

SWEEP = {"method": "grid", "program": "train.py", "parameters": {"lr": {"values": [1]}}}
JOB = EstimatorJob(document={}, program="train.py", command=torchrun({"InstanceCount": 1}), backend="sagemaker")


def test_a_sweep_without_a_command_takes_the_estimators() -> None:
    assert with_command(parse_sweep(SWEEP), JOB).config.command[0] == "torchrun"


def test_a_sweeps_own_command_stays() -> None:
    parsed = parse_sweep({**SWEEP, "command": ["accelerate", "launch", "${program}"]})
    assert with_command(parsed, JOB).config.command == parsed.config.command


def test_the_hosts_of_all_groups_meet() -> None:
    resources = {"InstanceGroups": [{"InstanceCount": 1}, {"InstanceCount": 2}]}
    assert "--nnodes=3" in torchrun(resources)


def test_only_what_is_switched_on_counts() -> None:
    given = {
        "torch_distributed": {"enabled": True},
        "mpi": {"enabled": False, "processes_per_host": 8},
        "smdistributed": {"dataparallel": {"enabled": True}},
    }
    assert chosen(given) == ["torch_distributed", "smdistributed"]
