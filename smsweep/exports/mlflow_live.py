"""The runs of a sweep in MLflow while the sweep runs: a parent run, and a child run for each trial."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from smsweep.core.json_documents import Row, SweepFields
from smsweep.core.trial import MetricPoint, Trial
from smsweep.errors import UsageError
from smsweep.exports import mlflow_runs
from smsweep.exports.contents import title_of
from smsweep.util.clock import utc_now

PARENT = "mlflow.parentRunId"  # MLflow's tag of child runs
SWEEP, TRIAL = "smsweep.sweep", "smsweep.trial"  # tags with the sweep's id and the trial's label
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST")
LONGEST_REASON = 300  # characters


class RefusedError(UsageError):
    """The server does not accept the data, also if it is sent again. For example, the user deleted the run."""


class LiveRuns:
    """Creates and changes the runs of a sweep. Every call can be repeated, and finds what an earlier one created.

    Args:
        uri: http://..., https://..., sqlite:///..., or the ARN of an MLflow server on SageMaker.
        sweep: The sweep.

    Every method raises UsageError if the server cannot be used, and RefusedError if a retry cannot help.
    """

    def __init__(self, uri: str, sweep: SweepFields) -> None:
        self._sweep = sweep
        self._title = title_of(sweep)
        self.asking_since: float | None = None  # time.monotonic() of the call that waits for the server
        with self._asking():
            self._client = MlflowClient(tracking_uri=uri)

    def open_parent(self) -> dict[str, str]:
        """Return the ids of the sweep's `experiment` and `parent` run."""
        with self._asking():
            experiment_id = self._open_experiment()
            run_id = self._find(experiment_id, {SWEEP: self._sweep["id"]}) or self._create(
                experiment_id,
                self._title,
                {SWEEP: self._sweep["id"], **mlflow_runs.about(self._sweep)},
                int(datetime.fromisoformat(self._sweep["created_at"] or "").timestamp() * 1000),
            )
            return {"experiment": experiment_id, "parent": run_id}

    def open_trial(self, experiment_id: str, parent_id: str, trial: Trial) -> str:
        """Return the id of a trial's run."""
        tags = {TRIAL: trial.label, PARENT: parent_id}
        with self._asking():
            return self._find(experiment_id, tags) or self._create(
                experiment_id, f"{self._title}-{trial.number}", tags, mlflow_runs.begun_ms(trial)
            )

    def log_params(self, run_id: str, row: Row) -> None:
        """Write the params of a trial. The same params can be written again."""
        with self._asking():
            mlflow_runs.log_texts(self._client, run_id, mlflow_runs.params_of(row), [])

    def log_points(self, run_id: str, points: Sequence[MetricPoint], counts: dict[str, int]) -> None:
        """Append points. counts: see `metrics_of`."""
        with self._asking():
            mlflow_runs.log_metrics(self._client, run_id, mlflow_runs.metrics_of(points, counts))

    def set_trial_state(self, run_id: str, trial: Trial) -> None:
        """Set the status of a trial that has not ended."""
        with self._asking():
            self._client.update_run(run_id, status=mlflow_runs.STATES[trial.state])

    def end_trial(
        self, run_id: str, trial: Trial, row: Row, points: Sequence[MetricPoint], origin: Mapping[str, Any]
    ) -> None:
        """Write the results of an ended trial. points: all of the trial, which are logged already."""
        with self._asking():
            mlflow_runs.end_run(self._client, run_id, trial, row, points, origin)

    def delete_trial(self, run_id: str) -> None:
        """Delete the run of a trial that was removed from its sweep."""
        with self._asking():
            self._client.delete_run(run_id)

    def set_parent_status(self, run_id: str, status: str) -> None:
        """Set the status of the sweep: RUNNING, FINISHED or KILLED."""
        with self._asking():
            if status == "RUNNING":
                self._client.update_run(run_id, status=status)
            else:
                mlflow_runs.set_ended(self._client, run_id, status, utc_now())

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Raise UsageError for the errors of MLflow, and RefusedError if a retry cannot help."""
        self.asking_since = time.monotonic()
        try:
            yield
        except (MlflowException, OSError) as err:
            # An answer without JSON comes from a proxy, or from a server that is not MLflow.
            code = "" if isinstance(err, OSError) or err.message.startswith("API request") else err.error_code
            raise (RefusedError if code in REFUSALS else UsageError)(_reason(err)) from err
        finally:
            self.asking_since = None

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

    def _create(self, experiment_id: str, name: str, tags: Mapping[str, str], begun_ms: int) -> str:
        run = self._client.create_run(experiment_id, start_time=begun_ms, tags=dict(tags), run_name=name)
        return str(run.info.run_id)


def _reason(err: BaseException) -> str:
    """Return the error of the operating system below an error, such as "Connection refused", or its cause."""
    cause: BaseException | None = err
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    line = (str(err).splitlines() or [type(err).__name__])[0]
    return line.rpartition("(Caused by ")[2][:LONGEST_REASON]
