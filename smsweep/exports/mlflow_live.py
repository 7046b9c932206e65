"""The runs of a sweep in MLflow while the sweep runs: a parent run, and a child run for each trial."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import mlflow
from mlflow.tracking import MlflowClient

from smsweep.core.json_documents import Row, SweepFields
from smsweep.core.trial import MetricPoint, Trial
from smsweep.exports import mlflow_runs
from smsweep.exports.contents import title_of
from smsweep.util.clock import utc_now

PARENT = "mlflow.parentRunId"  # MLflow's tag of child runs
SWEEP, TRIAL = "smsweep.sweep", "smsweep.trial"  # tags with the sweep's id and the trial's label
GLOBAL_URI = "MLFLOW_TRACKING_URI"


class LiveRuns:
    """Creates and changes the runs of a sweep. Every call can be repeated, and finds what an earlier one created.

    Args:
        uri: http://..., https://..., sqlite:///..., or the ARN of an MLflow server on SageMaker.
        sweep: The sweep.

    Every method raises UsageError if the server cannot be used.
    """

    def __init__(self, uri: str, sweep: SweepFields) -> None:
        self._uri, self._sweep = uri, sweep
        self._title = title_of(sweep)
        with self._translated():
            if uri.startswith("arn:"):
                _set_global_uri(uri)
            self._client = MlflowClient(tracking_uri=uri)

    def open_parent(self) -> dict[str, str]:
        """Return the ids of the sweep's `experiment` and `parent` run."""
        with self._translated():
            experiment_id = self._open_experiment()
            run_id = self._find(experiment_id, {SWEEP: self._sweep["id"]}) or self._create(
                experiment_id, self._title, {SWEEP: self._sweep["id"], **mlflow_runs.about(self._sweep)}
            )
            return {"experiment": experiment_id, "parent": run_id}

    def open_trial(self, experiment_id: str, parent_id: str, trial: Trial, row: Row) -> str:
        """Return the id of a trial's run, with its params."""
        tags = {TRIAL: trial.label, PARENT: parent_id}
        with self._translated():
            run_id = self._find(experiment_id, tags) or self._create(
                experiment_id, f"{self._title}-{trial.number}", tags, mlflow_runs.begun_ms(trial)
            )
            mlflow_runs.log_texts(self._client, run_id, mlflow_runs.params_of(row), [])
        return run_id

    def log_points(self, run_id: str, points: Sequence[MetricPoint], counts: dict[str, int]) -> None:
        """Append points. counts: see `metrics_of`."""
        with self._translated():
            mlflow_runs.log_metrics(self._client, run_id, mlflow_runs.metrics_of(points, counts))

    def set_trial_state(self, run_id: str, trial: Trial) -> None:
        """Set the status of a trial that has not ended."""
        with self._translated():
            self._client.update_run(run_id, status=mlflow_runs.STATES[trial.state])

    def end_trial(
        self, run_id: str, trial: Trial, row: Row, points: Sequence[MetricPoint], origin: Mapping[str, Any]
    ) -> None:
        """Write the results of an ended trial. points: all of the trial, which are logged already."""
        with self._translated():
            mlflow_runs.end_run(self._client, run_id, trial, row, points, origin)

    def delete_trial(self, run_id: str) -> None:
        """Delete the run of a trial that was removed from its sweep."""
        with self._translated():
            self._client.delete_run(run_id)

    def set_parent_status(self, run_id: str, status: str) -> None:
        """Set the status of the sweep: RUNNING, FINISHED or KILLED."""
        with self._translated():
            if status == "RUNNING":
                self._client.update_run(run_id, status=status)
            else:
                mlflow_runs.set_ended(self._client, run_id, status, utc_now())

    def _open_experiment(self) -> str:
        known = self._client.get_experiment_by_name(self._title)
        if known is None:
            return str(self._client.create_experiment(self._title, tags=mlflow_runs.about(self._sweep)))
        if known.lifecycle_stage != "active":
            self._client.restore_experiment(known.experiment_id)
        return str(known.experiment_id)

    def _find(self, experiment_id: str, tags: Mapping[str, str]) -> str:
        """Return the id of the run with tags; "" if there is none. A killed agent may have created the run."""
        query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        runs = self._client.search_runs([experiment_id], filter_string=query, max_results=1)
        return str(runs[0].info.run_id) if runs else ""

    def _create(self, experiment_id: str, name: str, tags: Mapping[str, str], begun_ms: int | None = None) -> str:
        run = self._client.create_run(experiment_id, start_time=begun_ms, tags=dict(tags), run_name=name)
        return str(run.info.run_id)

    def _translated(self) -> AbstractContextManager[None]:
        # The plug-in of SageMaker warns at each request to another server.
        return mlflow_runs.translated(f"tracking.mlflow: {self._uri}", "the agent tries again", logging.ERROR)


def _set_global_uri(uri: str) -> None:
    """Set MLflow's global URI, which the plug-in of SageMaker reads, but not for the processes of trials."""
    before = os.environ.get(GLOBAL_URI)
    mlflow.set_tracking_uri(uri)
    if before is None:
        os.environ.pop(GLOBAL_URI, None)
    else:
        os.environ[GLOBAL_URI] = before
