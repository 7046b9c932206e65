"""Tests that every script of docs/in-the-script.md behaves as documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.runtime.jobs import Job
from tools.environments import oracle

PAGE = Path(__file__).parents[3] / "docs" / "in-the-script.md"
PARAMS = {"lr": 0.1, "epochs": 2, "optimizer": {"name": "adam"}}
SCRIPTS = re.findall(r"```python ?(\w*)\n(.*?)```\n\n```text\n(.*?)```", PAGE.read_text(), re.DOTALL)


def run(job: Job, script: str) -> str:
    return job.trial({"train.py": script}, PARAMS, sweep_id="demo").run().out


@pytest.mark.parametrize(("script", "expected"), [(script, out) for kind, script, out in SCRIPTS if not kind])
def test_documented_script_prints_the_documented_output(job: Job, script: str, expected: str) -> None:
    assert re.sub(r'"time": [0-9.]+', '"time": ...', run(job, script)) == expected


@pytest.mark.parametrize(
    ("script", "expected"), [(script, out) for kind, script, out in SCRIPTS if kind == "fails"]
)
def test_documented_failure_has_the_documented_reason(job: Job, script: str, expected: str) -> None:
    run(job, script)
    assert job.failure.startswith(expected)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("script", "expected"), [(script, out) for kind, script, out in SCRIPTS if kind == "wandb"]
)
def test_documented_wandb_script_prints_the_documented_output(job: Job, script: str, expected: str) -> None:
    job.environ["PATH"] = f"{oracle('wandb').python.parent}:{job.environ['PATH']}"
    lines = [line for line in run(job, script).splitlines(keepends=True) if not line.startswith("wandb:")]
    assert re.sub(r'"time": [0-9.]+', '"time": ...', "".join(lines)) == expected


def test_every_documented_script_is_tested() -> None:
    assert len(SCRIPTS) == PAGE.read_text().count("```python")


def test_first_log_imports_no_slow_module(job: Job) -> None:
    script = """
import sys
before = set(sys.modules)
import smsweep
smsweep.log({"loss": 0.5, "phase": "warm"})
print("loaded:", *sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
    done = job.trial({"train.py": script}).run()
    loaded = next(line for line in done.out.splitlines() if line.startswith("loaded:")).split()
    slow = {"collections", "contextlib", "enum", "functools", "json", "re", "threading", "typing"}
    assert "smsweep" in loaded
    assert not slow & {*loaded}, "each of them delays every trial"
