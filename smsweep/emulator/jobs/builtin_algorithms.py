"""The metrics of AWS's built-in algorithms. Requests for these algorithms have no metric definitions.

Sources: the pages about tuning of each algorithm in the SageMaker Developer Guide for the names; descriptions of
jobs on AWS and lines of their logs for the regexes. Metrics whose line is in no source are missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from smsweep.aws.image_uris import algorithm_of_aws

QUALITY = r"#quality_metric: host=\S+, "
SCORE, LOSS = r" <score>=(\S+)", r" <loss>=(\S+)"
PROGRESS = (
    ("train:progress", r"#progress_metric: host=\S+, completed (\S+) %"),
    ("train:throughput", r"#throughput_metric: host=\S+, train throughput=(\S+) records/second"),
)
MAX_DEFINITIONS = 40  # API: metric definitions of a training job
XGBOOST_METRICS = (  # most used first
    *("accuracy", "auc", "error", "f1", "logloss", "mae", "map", "merror", "mlogloss", "mse", "ndcg", "r2"),
    *("rmse", "cox-nloglik", "gamma-deviance", "gamma-nloglik", "poisson-nloglik"),
    *("aucpr", "balanced_accuracy", "rmsle", "f1_binary", "f1_macro", "mape", "mphe"),
    *("precision", "precision_macro", "precision_micro", "recall", "recall_macro", "recall_micro"),
)
# Metric of Linear Learner -> its name in the log, as a regex
LINEAR_SCORES = {
    "binary_classification_accuracy": "binary_classification_accuracy",
    "binary_f_beta": r"binary_f_\S+",
    "precision": "precision",
    "recall": "recall",
}
LINEAR_CLASS_SCORES = {  # not of the train channel
    "dcg": "dcg",
    "macro_f_beta": r"macro_f_\S+",
    "macro_precision": "macro_precision",
    "macro_recall": "macro_recall",
    "multiclass_accuracy": "multiclass_accuracy",
    "multiclass_top_k_accuracy": r"multiclass_top_k_accuracy_\S+",
}
OBJECTIVE_LOSS = rf"\S+_objective{LOSS}"


def _xgboost() -> Iterator[tuple[str, str]]:
    for name in XGBOOST_METRICS:
        for channel in ("train", "validation"):  # the container prints #011 for a tab
            yield f"{channel}:{name}", rf"\[[0-9]+\].*(?:#011|\t){channel}-{name}:([-+.eE0-9]+)"


def _linear_learner() -> Iterator[tuple[str, str]]:
    for channel in ("train", "validation", "test"):
        scores = LINEAR_SCORES if channel == "train" else {**LINEAR_SCORES, **LINEAR_CLASS_SCORES}
        for name, in_log in scores.items():
            yield f"{channel}:{name}", f"{QUALITY}{channel} {in_log}{SCORE}"
        for name in ("absolute_loss", "mse"):
            yield f"{channel}:{name}", f"{QUALITY}{channel} {name}{LOSS}"
    for channel in ("train", "validation"):
        yield f"{channel}:objective_loss", rf"{QUALITY}epoch=\S+, {channel} {OBJECTIVE_LOSS}"
        yield f"{channel}:objective_loss:final", f"{QUALITY}{channel} {OBJECTIVE_LOSS}"
    yield "test:objective_loss", f"{QUALITY}test {OBJECTIVE_LOSS}"


# Repository of an algorithm's image -> (name, regex) of its metrics
METRICS: Mapping[str, Sequence[tuple[str, str]]] = {
    "blazingtext": (
        ("train:mean_rho", r"#mean_rho: (\S+)"),
        ("train:accuracy", r"#train_accuracy: (\S+)"),
        ("validation:accuracy", r"#validation_accuracy: (\S+)"),
    ),
    "forecasting-deepar": (
        ("test:RMSE", f"{QUALITY}test RMSE{LOSS}"),
        ("test:mean_wQuantileLoss", f"{QUALITY}test mean_wQuantileLoss{LOSS}"),
        ("train:final_loss", f"{QUALITY}train final_loss{LOSS}"),
        *PROGRESS,
    ),
    "image-classification": (
        ("train:accuracy", r"Epoch\[\d+\] Train-accuracy=(\S+)"),
        ("validation:accuracy", r"Epoch\[\d+\] Validation-accuracy=(\S+)"),
    ),
    "ipinsights": (
        ("validation:discriminator_auc", rf"{QUALITY}epoch=\S+, validation discriminator_auc{SCORE}"),
        *(
            (f"train:{name}{suffix}", rf"{QUALITY}epoch=\S+, {batch}train {name}{ending}")
            for name, ending in (
                ("binary_classification_accuracy", SCORE),
                ("binary_classification_cross_entropy", LOSS),
            )
            for suffix, batch in ((":epoch", ""), ("", r"batch=\S+ "))
        ),
        *PROGRESS,
    ),
    "kmeans": (("test:msd", f"{QUALITY}test msd{LOSS}"), ("test:ssd", f"{QUALITY}test ssd{LOSS}")),
    "linear-learner": (*_linear_learner(), *PROGRESS),
    "object-detection": (
        ("validation:mAP", rf"{QUALITY}epoch=\S+, validation mAP <score>=\((\S+)\)"),
        ("train:smooth_l1", rf"{QUALITY}epoch=\S+, batch=\S+ train smooth_l1{LOSS}"),
        ("train:cross_entropy", rf"{QUALITY}epoch=\S+, batch=\S+ train cross_entropy{LOSS}"),
        *PROGRESS,
    ),
    "sagemaker-xgboost": tuple(_xgboost()),
    "xgboost": tuple(_xgboost()),
}


def has_own_metrics(algorithm: Mapping[str, Any]) -> bool:
    """Return True if an AlgorithmSpecification has a built-in algorithm, which needs no metric definitions."""
    return algorithm_of_aws(algorithm.get("TrainingImage", "")) != ""


def metric_definitions(request: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
    """Return the MetricDefinitions of a CreateTrainingJob request, or those of its built-in algorithm."""
    algorithm = request["AlgorithmSpecification"]
    if algorithm.get("MetricDefinitions"):
        own: Sequence[Mapping[str, str]] = algorithm["MetricDefinitions"]
        return own
    known = METRICS.get(algorithm_of_aws(algorithm.get("TrainingImage", "")), ())
    return [{"Name": name, "Regex": regex} for name, regex in known]


def described_algorithm(algorithm: Mapping[str, Any], objective: str = "") -> dict[str, Any]:
    """Return an AlgorithmSpecification with the metrics of a built-in algorithm, as SageMaker describes it.

    Args:
        algorithm: AlgorithmSpecification of a request.
        objective: The objective metric of a tuning job, which comes first.
    """
    if algorithm.get("MetricDefinitions"):
        return dict(algorithm)
    definitions = sorted(
        metric_definitions({"AlgorithmSpecification": algorithm}), key=lambda item: item["Name"] != objective
    )
    described = dict(algorithm)
    if definitions:
        described["MetricDefinitions"] = definitions[:MAX_DEFINITIONS]
    return described
