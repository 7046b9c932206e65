"""The rows that an unmodified script logs to W&B reach the sweep unchanged, in old and new versions of wandb."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from smsweep.api.api import rows
from smsweep.engine.metric_parser import MetricParser
from tests.unit.runtime.jobs import Done, Job, finish

pytestmark = pytest.mark.oracle

PARAMS = {"lr": 1e-5, "opt": {"name": "adam"}}
SCRIPT = Path(__file__).with_name("wandb_train_rows.py").read_text()
NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)


def run(job: Job, script: str, **trial: Any) -> Done:
    return finish(job.trial({"train.py": script}, PARAMS, **trial).start(), timeout_s=120)


def printed_json(done: Done, word: str) -> Any:
    line = next((line for line in done.out.splitlines() if line.startswith(word + " ")), None)
    assert line is not None, done.out
    return json.loads(line.removeprefix(word))


def reported(done: Done) -> list[list[Any]]:
    """Return the rows that the sweep receives, as [step, {name: value}]."""
    found = rows(MetricParser().read(done.out.splitlines(), NOW).points)
    return [[row.pop("_step"), {name: row[name] for name in row if name != "_timestamp"}] for row in found]


def summed_up(done: Done) -> list[dict[str, float]]:
    """Return the sweep's summary of each run. Values of later runs replace values of earlier runs."""
    found: list[dict[str, float]] = [{}]
    for line in done.out.splitlines():
        if line.startswith("@smsweep {") and '"summary": ' in line:
            values = json.loads(line.removeprefix("@smsweep "))["summary"]
            found[-1] |= {name.partition(".")[2]: values[name] for name in values if name.startswith("count.")}
        if line.startswith("FINISHED"):
            found.append({})
    return found[:-1]


def comparable(rows: list[list[Any]]) -> list[tuple[int, dict[str, Any]]]:
    """Return the non-empty rows, with numbers as floats, and NaN in a form that equals itself."""
    return [(step, {name: number(value) for name, value in row.items()}) for step, row in rows if row]


def number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return "NaN" if math.isnan(value) else float(value)


def test_reported_rows_equal_wandb_rows(wandb_job: Job) -> None:
    done = run(wandb_job, SCRIPT)
    recorded = printed_json(done, "ROWS")
    assert [len(rows) > 100 for rows in recorded] == [True, True]
    assert summed_up(done) == [pytest.approx(summary) for summary in printed_json(done, "SUMMARY")]
    assert comparable(reported(done)) == comparable([row for rows in recorded for row in rows])


RESUMED = """
import json, wandb
run = wandb.init()
print("STATE", json.dumps([run.resumed, run.starting_step]))
for number in range(2):
    wandb.log({"loss": number})
wandb.log({"loss": 9}, step=40)
"""


def test_run_without_account_resumes_after_steps_of_earlier_attempts(wandb_job: Job) -> None:
    done = run(wandb_job, RESUMED, attempt=1, resume_step=7)
    assert printed_json(done, "STATE") == [True, 7]
    assert reported(done) == [[7, {"loss": 0}], [8, {"loss": 1}], [40, {"loss": 9}]]


def test_first_attempt_does_not_resume(wandb_job: Job) -> None:
    done = run(wandb_job, RESUMED)
    assert printed_json(done, "STATE") == [False, 0]
    assert reported(done) == [[0, {"loss": 0}], [1, {"loss": 1}], [40, {"loss": 9}]]


def test_disabled_run_keeps_steps_of_earlier_attempts(wandb_job: Job) -> None:
    wandb_job.environ["WANDB_MODE"] = "disabled"
    script = "import wandb\nrun = wandb.init()\nrun.log({'loss': 1})\nrun.log({'loss': 2})\n"
    done = run(wandb_job, script, attempt=1, resume_step=7)
    assert reported(done) == [[7, {"loss": 1}], [8, {"loss": 2}]]


def test_explicit_step_of_resumed_run_is_kept(wandb_job: Job) -> None:
    script = "import wandb\nrun = wandb.init()\nrun.log({'loss': 1}, step=5)\n"
    assert reported(run(wandb_job, script, attempt=1, resume_step=7)) == [[5, {"loss": 1}]]
