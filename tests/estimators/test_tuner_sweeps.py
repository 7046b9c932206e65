"""Tests of sweeps of HyperparameterTuners, each SDK in a separate environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smsweep.config_files.job_yaml import parse_job
from smsweep.config_files.sweep_yaml import parse_sweep
from tools.environments import oracle

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module", params=[2, 3], ids=["sdk2", "sdk3"])
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The sweeps of all tuners in ask_tuners.py."""
    folder = tmp_path_factory.mktemp("tuners")
    source = folder / "source"
    source.mkdir()
    (source / "train.py").write_text("print('accuracy=0.5')")
    question = {"sdk": request.param, "home": str(folder / "home"), "source_dir": str(source)}
    return dict(
        oracle(f"sagemaker{request.param}").ask(Path(__file__).with_name("ask_tuners.py"), question),
        source=str(source),
    )


def test_tuner_becomes_a_sweep_and_a_job(answers: dict[str, Any]) -> None:
    script = answers["script"]
    assert script["sweep"] == {
        "method": "bayes",
        "metric": {"name": "accuracy", "goal": "maximize"},
        "parameters": {
            "hidden": {"distribution": "int_uniform", "min": 1, "max": 9},
            "kind": {"values": ["a", "b"]},
            "lr": {"distribution": "log_uniform_values", "min": 0.001, "max": 0.1},
        },
        "early_terminate": {"type": "median", "min_iter": 2},
        "run_cap": 6,
    }
    assert (script["program"], script["max_parallel"], script["seed"]) == ("train.py", 3, 7)
    assert script["job"]["source_dir"] == answers["source"]
    assert script["job"]["tags"] == {"team": "red"}
    template = parse_job(script["job"]).template
    assert template.request["HyperParameters"] == {"epochs": "9", "optimizer": '"adam"', "nesterov": "true"}
    assert template.metric_definitions == (("accuracy", "accuracy=([0-9.]+)"),)
    (channel,) = template.request["InputDataConfig"]
    assert channel["ChannelName"] == "training"
    assert channel["DataSource"]["S3DataSource"]["S3Uri"] == "s3://data/train"


def test_tuner_without_a_script_runs_the_image(answers: dict[str, Any]) -> None:
    job = answers["image"]["job"]
    template = parse_job(job).template
    assert template.runs_image
    assert template.request["HyperParameters"] == {
        "epochs": "9",
        "optimizer": "adam",
        "nesterov": "True",  # as the SDK writes it
        "verbose": "true",
        "decay": "1e3",
        "layers": "[8, 4]",
        "_tuning_objective_metric": "accuracy",
    }


def test_settings_of_a_tuner_are_kept(answers: dict[str, Any]) -> None:
    assert answers["warm"]["prior_runs"] == ["tuning-job/parent"]
    rule = {"type": "hyperband", "max_iter": 9, "s": 2, "eta": 3}
    assert answers["hyperband"]["sweep"]["early_terminate"] == rule
    assert answers["target"]["sweep"]["metric"]["target"] == 0.9
    grid = answers["grid"]["sweep"]
    assert (grid["method"], grid["parameters"], grid.get("run_cap")) == (
        "grid",
        {"kind": {"values": ["a", "b"]}},
        None,
    )
    preferences = parse_job(answers["instances"]["job"]).template.request["ResourceConfig"]["InstancePreferences"]
    assert [item["InstanceType"] for item in preferences] == ["ml.m5.xlarge", "ml.m5.2xlarge"]


def test_autotune_searches_the_hyperparameters_that_are_not_static(answers: dict[str, Any]) -> None:
    autotune = answers["autotune"]
    space = parse_sweep(autotune["sweep"]).config.space
    assert {path[0] for path, _ in space.leaves} == {"lr", "hidden", "kind", "epochs"}
    assert autotune["job"]["request"]["HyperParameters"] == {"optimizer": '"adam"', "nesterov": "true"}


def test_tuner_without_a_counterpart_is_refused(answers: dict[str, Any]) -> None:
    assert "ConvergenceDetected: a sweep has no such criterion" in answers["converges"]
    assert "create one sweep for each of one, two" in answers["several"]
    assert "for an Estimator, use estimator=" in answers["estimator"]


def test_sweep_of_a_tuner_calls_no_service_and_leaves_the_tuner_unchanged(answers: dict[str, Any]) -> None:
    assert answers["calls"] == []
    assert answers["stored"] == ["tuned", 7, "train.py", True]
    assert answers["unchanged"] == [None, None, True]
