"""Read exports with the readers of other programs. stdin: {"folder"}; stdout: see each function."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import optuna
from mlflow.tracking import MlflowClient
from pyarrow import parquet
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2


def read_parquet() -> dict[str, Any]:
    table = parquet.read_table("trials.parquet")
    about = json.loads(table.schema.metadata[b"smsweep.sweep"])
    return {
        "types": {field.name: str(field.type) for field in table.schema},
        "rows": table.to_pylist(),
        "about": about,
    }


def read_study(name: str) -> dict[str, Any]:
    study = optuna.load_study(storage="sqlite:///study.db", study_name=name)
    return {
        "directions": [direction.name for direction in study.directions],
        "metrics": study.metric_names,
        "attributes": study.user_attrs,
        "best": study.best_trial.number if len(study.directions) == 1 else None,
        "trials": [
            {
                "state": trial.state.name,
                "values": trial.values,
                "params": trial.params,
                "distributions": {name: repr(value) for name, value in trial.distributions.items()},
                "curve": list(trial.intermediate_values.items()),
                "attributes": trial.user_attrs,
                "start": trial.datetime_start.astimezone().isoformat() if trial.datetime_start else None,
            }
            for trial in study.trials
        ],
    }


def read_mlflow() -> dict[str, Any]:
    client = MlflowClient(tracking_uri="sqlite:///mlflow.db")
    experiment = next(found for found in client.search_experiments() if found.name != "Default")
    runs = []
    for run in client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"]):
        history = client.get_metric_history(run.info.run_id, "loss")
        runs.append(
            {
                "name": run.info.run_name,
                "status": run.info.status,
                "params": run.data.params,
                "metrics": run.data.metrics,
                "tags": run.data.tags,
                "loss": [[metric.step, metric.value] for metric in history],
            }
        )
    return {"name": experiment.name, "tags": experiment.tags, "runs": runs}


def read_events() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for folder in Path("runs").glob("*/*/"):
        if not folder.is_dir():
            continue
        events = EventAccumulator(str(folder))
        events.Reload()
        start = plugin_data_pb2.HParamsPluginData.FromString(
            events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        ).session_start_info
        found[folder.name] = {
            "loss": [[event.step, event.value] for event in events.Scalars("loss")],
            "params": {
                name: getattr(value, value.WhichOneof("kind") or "string_value")
                for name, value in start.hparams.items()
            },
        }
    return found


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    question = json.load(sys.stdin)
    os.chdir(question["folder"])
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    answer = {
        "parquet": read_parquet(),
        "studies": [read_study(name) for name in question["studies"]],
        "mlflow": read_mlflow(),
        "events": read_events(),
    }
    json.dump(plain(answer), sys.stdout, default=str)
