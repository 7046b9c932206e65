"""Tests of the rule that decides which operations of SageMaker start work."""

from __future__ import annotations

import pytest

from smsweep.emulator.api.support import alternative, recorded, refused, starts_work


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
