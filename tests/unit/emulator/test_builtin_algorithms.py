"""Tests of the metrics of AWS's built-in algorithms. The lines are those of their containers on AWS."""

from __future__ import annotations

from typing import Any

import pytest

from smsweep.aws.request_rules import broken_rules
from smsweep.emulator.jobs.builtin_algorithms import METRICS, described_algorithm, metric_definitions
from smsweep.emulator.jobs.moto_services import MetricReader

START = "[10/31/2024 23:19:04 INFO 140186099169088] "
QUALITY = f"{START}#quality_metric: host=algo-1, "


def a_request(repository: str, **algorithm: Any) -> dict[str, Any]:
    image = f"382416733822.dkr.ecr.us-east-1.amazonaws.com/{repository}:1"
    return {"AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File", **algorithm}}


@pytest.mark.parametrize(
    ("repository", "line", "metric"),
    [
        ("blazingtext", f"{START}#mean_rho: 0.7096995514173802", ("train:mean_rho", 0.7096995514173802)),
        ("blazingtext", "#validation_accuracy: 0.9228", ("validation:accuracy", 0.9228)),
        ("forecasting-deepar", f"{QUALITY}test RMSE <loss>=413.5", ("test:RMSE", 413.5)),
        (
            "forecasting-deepar",
            f"{QUALITY}test mean_wQuantileLoss <loss>=0.112",
            ("test:mean_wQuantileLoss", 0.112),
        ),
        ("forecasting-deepar", f"{QUALITY}train final_loss <loss>=-0.128", ("train:final_loss", -0.128)),
        (
            "forecasting-deepar",
            f"{START}#progress_metric: host=algo-1, completed 5.0 % of epochs",
            ("train:progress", 5.0),
        ),
        (
            "image-classification",
            f"{START}Epoch[0] Validation-accuracy=0.771429",
            ("validation:accuracy", 0.771429),
        ),
        (
            "ipinsights",
            f"{QUALITY}epoch=3, validation discriminator_auc <score>=0.98",
            ("validation:discriminator_auc", 0.98),
        ),
        ("kmeans", f"{QUALITY}test msd <loss>=0.065", ("test:msd", 0.065)),
        ("kmeans", f"{QUALITY}test ssd <loss>=211.5", ("test:ssd", 211.5)),
        (
            "linear-learner",
            f"{QUALITY}epoch=1, validation mse_objective <loss>=83.68",
            ("validation:objective_loss", 83.68),
        ),
        (
            "linear-learner",
            f"{QUALITY}validation multiclass_cross_entropy_objective <loss>=0.1778",
            ("validation:objective_loss:final", 0.1778),
        ),
        (
            "linear-learner",
            f"{QUALITY}validation multiclass_accuracy <score>=0.9469",
            ("validation:multiclass_accuracy", 0.9469),
        ),
        ("linear-learner", f"{QUALITY}test binary_f_1.000 <score>=0.5", ("test:binary_f_beta", 0.5)),
        ("linear-learner", f"{QUALITY}validation absolute_loss <loss>=2.869", ("validation:absolute_loss", 2.869)),
        ("object-detection", f"{QUALITY}epoch=0, validation mAP <score>=(0.25)", ("validation:mAP", 0.25)),
        ("sagemaker-xgboost", "[3]#011train-rmse:1.5#011validation-rmse:2.5", ("validation:rmse", 2.5)),
        (
            "xgboost",
            "[9]\ttrain-poisson-nloglik:1.25\tvalidation-poisson-nloglik:2.5",
            ("train:poisson-nloglik", 1.25),
        ),
    ],
)
def test_line_of_a_builtin_algorithm_has_its_metric(repository: str, line: str, metric: tuple[str, float]) -> None:
    values = MetricReader(metric_definitions(a_request(repository))).read([line])
    assert metric in values
    assert len(values) == len(dict(values))  # a line has each metric once


def test_other_image_has_only_its_own_metric_definitions() -> None:
    assert metric_definitions(a_request("kmeans-of-mine")) == []
    own = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
    assert metric_definitions(a_request("kmeans", MetricDefinitions=own)) == own


@pytest.mark.parametrize("repository", METRICS)
def test_metric_definitions_of_an_algorithm_are_valid(repository: str) -> None:
    definitions = metric_definitions(a_request(repository))
    assert len({item["Name"] for item in definitions}) == len(definitions)
    request = a_request(repository, MetricDefinitions=definitions)
    assert [text for text in broken_rules(request) if "egex" in text] == []


def test_described_algorithm_has_at_most_the_metrics_that_a_request_can_have() -> None:
    algorithm = a_request("sagemaker-xgboost")["AlgorithmSpecification"]
    names = [item["Name"] for item in described_algorithm(algorithm, "validation:recall")["MetricDefinitions"]]
    assert (len(names), names[0]) == (40, "validation:recall")
    assert {"train:rmse", "validation:auc"} < set(names)
    assert "MetricDefinitions" not in described_algorithm({"TrainingImage": "own"})
