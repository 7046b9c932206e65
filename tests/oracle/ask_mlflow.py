"""Read runs of an MLflow server with its own client. stdin: {"uri", "experiment"}; stdout: a list of runs."""

from __future__ import annotations

import json
import sys

from mlflow.tracking import MlflowClient

question = json.load(sys.stdin)
client = MlflowClient(tracking_uri=question["uri"])
experiments = [
    experiment.experiment_id
    for experiment in client.search_experiments()
    if question["experiment"] == experiment.name
]
runs = []
for run in client.search_runs(experiments, max_results=1_000):
    history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    runs.append(
        {
            "id": run.info.run_id,
            "name": run.info.run_name,
            "status": run.info.status,
            "start_time": run.info.start_time,
            "end_time": run.info.end_time,
            "params": run.data.params,
            "tags": run.data.tags,
            "metrics": {name: [[point.step, point.value] for point in points] for name, points in history.items()},
        }
    )
print(json.dumps(runs))
