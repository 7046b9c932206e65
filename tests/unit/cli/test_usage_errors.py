"""Wrong options and arguments: `error: WHERE: WHAT IS WRONG; HOW TO FIX IT`, exit code 2, no usage text."""

from __future__ import annotations

import pytest

from tests.unit.cli.conftest import Cli

MESSAGES = {
    "run --parallel 0": "--parallel: 0 is too small; use 1 or more, or auto",
    "run -j none": "--parallel: 'none' is not a whole number; write digits, such as 1, or auto",
    "run --count 2.5": "--count: '2.5' is not a whole number; write digits, such as 1",
    "watch x --interval soon": "--interval: 'soon' is not a number; write one, such as 1.5",
    "watch x --interval 0": "--interval: 0 is too small; use 0.1 or more",
    "ui --port 70000": "--port: 70000 is too large; use 65535 or less",
    "export x --format cvs": "--format: 'cvs' is not a valid value; did you mean csv? Use one of csv, json, "
    "parquet, wandb, optuna, mlflow, tensorboard, tuning-job",
    "run --detach=there": "--detach-to: 'there' is not a valid value; did you mean here? "
    "Use one of here, sagemaker, s3",
    "run --paralel 2": "--paralel: smsweep run has no such option; did you mean --parallel, or --profile?",
    "run -z": "-z: smsweep run has no such option; list its options with: smsweep run --help",
    "agent -f x": "-f: smsweep agent has no such option; use --forward-signals",
    "export x -f": "-f: smsweep export has no such option; use --force",
    "run --job": "--job: this option needs a value; add one",
    "ls --json=yes": "--json: this option has no value; remove the value",
    "ls abcd1234": "smsweep ls: unexpected argument abcd1234; remove it, or see smsweep ls --help",
    "why": "smsweep why: ID/N is missing; write: smsweep why ID/N",
    "slurm x": "smsweep slurm: --array is missing; write: smsweep slurm ID --array N",
    "publish": "smsweep publish: ID is missing; write: smsweep publish ID --queue URL",
    "completion": "smsweep completion: SHELL is missing; write: smsweep completion SHELL; SHELL is one of bash, "
    "zsh, fish, powershell, pwsh",
    "wandb sync": "smsweep wandb sync: ID[/N] is missing; write: smsweep wandb sync ID[/N]",
    "-v": "smsweep: missing command; see smsweep --help",
    "sweep --pause --stop x": "--pause and --stop: these options contradict each other; give one of them",
    "sweep --print": "--print: needs --from-tuner; `smsweep plan` shows the trials of a sweep.yaml",
    "sweep sweep.yaml --from-tuner tune": "--from-tuner and sweep.yaml: the tuning job has its own config; "
    "remove one",
    "sweep --from-tuner tune --print --json": "--print and --json: --print writes files and prints their names; "
    "remove --json",
    "sweep --stop": "--stop: the sweep is missing; write: smsweep sweep --stop ID",
}


@pytest.mark.parametrize(("words", "message"), MESSAGES.items(), ids=MESSAGES.keys())
def test_usage_error_has_where_what_and_fix(cli: Cli, words: str, message: str) -> None:
    ended = cli(*words.split())
    assert (ended.code, ended.out, ended.err) == (2, "", f"error: {message}\n")
