"""BatchGetMetrics of the service SageMaker Metrics: the values of a training job's metrics."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smsweep.emulator.jobs.job import Job

GET_METRICS = "BatchGetMetrics"
PERIODS_S = {"OneMinute": 60, "FiveMinute": 300, "OneHour": 3_600}
BY_STEP = "IterationNumber"  # a period, and a type of the x-axis
Points = Sequence[tuple[float, float]]  # (seconds since the epoch, value)
STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Min": min,
    "Max": max,
    "Avg": statistics.fmean,
    "Count": len,
    "StdDev": statistics.pstdev,
    "Last": lambda values: values[-1],
}


def get_metrics(
    request: Mapping[str, Any], find_job: Callable[[str], Job | None], points_of: Callable[[Job, str], Points]
) -> dict[str, Any]:
    """Return the response of BatchGetMetrics.

    Args:
        request: Parameters of the call.
        find_job: Returns the job with an ARN, or None.
        points_of: Returns the points of a job's metric, in order.
    """
    return {"MetricQueryResults": [_result(query, find_job, points_of) for query in request["MetricQueries"]]}


def _result(
    query: Mapping[str, Any], find_job: Callable[[str], Job | None], points_of: Callable[[Job, str], Points]
) -> dict[str, Any]:
    job = find_job(query["ResourceArn"])
    if job is None:
        message = (
            f"No training job has the ARN {query['ResourceArn']}; the emulator has metrics of training jobs only"
        )
        return {"Status": "ValidationError", "Message": message, "XAxisValues": [], "MetricValues": []}
    windows: dict[int, list[float]] = {}  # x -> values, in order
    for step, (at, value) in enumerate(points_of(job, query["MetricName"])):
        by_step = query["XAxisType"] == BY_STEP or query["Period"] == BY_STEP
        x = step if by_step else int(at) // PERIODS_S[query["Period"]] * PERIODS_S[query["Period"]]
        if query.get("Start", x) <= x <= query.get("End", x):
            windows.setdefault(x, []).append(value)
    of_window = STATISTICS[query["MetricStat"]]
    return {
        "Status": "Complete",
        "XAxisValues": list(windows),
        "MetricValues": [float(of_window(values)) for values in windows.values()],
    }
