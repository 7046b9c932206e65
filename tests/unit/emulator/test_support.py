"""Tests of the rule that decides which operations of SageMaker start work."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from smsweep.emulator.api.support import alternative, recorded, refused, starts_work
from smsweep.emulator.api.training_jobs import SageMakerApi, TrainingJobs
from smsweep.emulator.api.tuning_jobs import TuningJobs
from smsweep.emulator.faults import FaultInjector, Faults
from smsweep.emulator.jobs.job import JobTable
from smsweep.emulator.jobs.tuning_job import TuningTable

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "action",
    [
        "CreateProcessingJob",
        "CreateTransformJob",
        "CreateCompilationJob",
        "CreateAutoMLJobV2",
        "CreateEndpoint",
        "CreateNotebookInstance",
        "CreateCluster",
        "StartPipelineExecution",
        "StartNotebookInstance",
        "RetryPipelineExecution",
    ],
)
def test_operation_that_starts_work_is_refused(action: str) -> None:
    assert starts_work(action)
    assert action not in recorded(())


@pytest.mark.parametrize(
    "action",
    ["CreateExperiment", "CreateModel", "CreateModelPackage", "CreatePipeline", "CreateDataQualityJobDefinition"],
)
def test_record_is_passed_to_moto(action: str) -> None:
    assert not starts_work(action)
    assert action in recorded(())


def test_operation_that_the_emulator_serves_is_neither_refused_nor_recorded() -> None:
    assert "CreateTrainingJob" in refused(())
    assert "CreateTrainingJob" not in refused(["CreateTrainingJob"])
    assert "ListTrainingJobs" not in recorded(["ListTrainingJobs"])


def test_refusal_names_an_alternative() -> None:
    assert alternative("CreateProcessingJob") == (
        "run the script as a training job or unset AWS_ENDPOINT_URL to call AWS"
    )
    assert alternative("CreateCluster") == "unset AWS_ENDPOINT_URL to call AWS"


def served_by_the_emulator(folder: Path) -> frozenset[str]:
    """Return the operations of an emulator's API."""
    faults, table = FaultInjector(Faults(), time.monotonic), JobTable(folder / "jobs")
    tuning_table = TuningTable(folder / "tuning-jobs", table.lock)
    jobs = TrainingJobs(table, faults, lambda uri: True, time.time, lambda job: None, lambda name: None)
    tuning_jobs = TuningJobs(tuning_table, table, faults, lambda uri: True, time.time, lambda: None)
    return SageMakerApi(table, jobs, tuning_table, tuning_jobs, faults, time.time).served


def names_in(text: str) -> list[str]:
    return re.findall(r"\b[A-Z]\w+\b", text)


def test_page_lists_the_calls_that_are_served_refused_and_recorded(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "emulator.md").read_text(encoding="utf-8")
    tuning = page.split("## Tuning jobs")[1].split("Calls: ")[1].split("\n\n")[0]
    served = names_in(page.split("**SageMaker**: ")[1].split(", and the calls")[0]) + names_in(tuning)
    assert set(served) == served_by_the_emulator(tmp_path)
    others = page.split("## Other calls of SageMaker")[1]
    assert names_in(others.split("the emulator refuses:")[1].split("\n\n")[1]) == refused(served)
    assert names_in(others.split("that start no work:")[1].split("\n\n")[1]) == recorded(served)
