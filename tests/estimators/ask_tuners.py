"""Convert tuners of an SDK to sweeps, and create one. Runs in the environment of that SDK.

stdin: {"sdk": 2 or 3, "home": ..., "source_dir": ...}. stdout: the sweep and the job of each tuner, or its
error; the stored sweep; and the attempted connections.
"""

from __future__ import annotations

import os
from typing import Any

import sealed  # type: ignore[import-not-found]  # beside this script

asked = sealed.question()
sealed.seal()
os.environ["SMSWEEP_DIR"] = asked["home"]

import boto3  # noqa: E402  # after the seal

import smsweep  # noqa: E402
from smsweep.errors import SmsweepError  # noqa: E402
from smsweep.services.sweeps.load import TunerSweep  # noqa: E402
from smsweep.services.sweeps.tuning_jobs import read_tuner  # noqa: E402

ROLE = "arn:aws:iam::123456789012:role/trainer"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/own:1"
DEFINITIONS = [{"Name": "accuracy", "Regex": "accuracy=([0-9.]+)"}]
FIXED = {"epochs": 9, "optimizer": "adam", "nesterov": True}
SEARCH = {
    "strategy": "Bayesian",
    "objective_type": "Maximize",
    "max_jobs": 6,
    "max_parallel_jobs": 3,
    "early_stopping_type": "Auto",
    "random_seed": 7,
    "tags": [{"Key": "team", "Value": "red"}],
}

if asked["sdk"] == 2:
    from sagemaker.estimator import Estimator
    from sagemaker.parameter import CategoricalParameter, ContinuousParameter, IntegerParameter
    from sagemaker.session import Session
    from sagemaker.tuner import (
        HyperbandStrategyConfig,
        HyperparameterTuner,
        InstanceConfig,
        StrategyConfig,
        TuningJobCompletionCriteriaConfig,
        WarmStartConfig,
        WarmStartTypes,
    )

    def estimator(*, is_script: bool = True, **fixed: Any) -> Any:
        script = {"entry_point": "train.py", "source_dir": asked["source_dir"]} if is_script else {}
        return Estimator(
            IMAGE,
            role=ROLE,
            instance_count=1,
            instance_type="ml.m5.large",
            output_path="s3://results",
            hyperparameters={**FIXED, "lr": 0.5, **fixed},
            sagemaker_session=Session(boto3.Session(), default_bucket="bucket"),
            **script,
        )

    def warm_start() -> Any:
        return WarmStartConfig(WarmStartTypes.IDENTICAL_DATA_AND_ALGORITHM, {"parent"})

    def hyperband() -> Any:
        return StrategyConfig(HyperbandStrategyConfig(max_resource=9, min_resource=1))

    def target() -> Any:
        return TuningJobCompletionCriteriaConfig(target_objective_metric_value=0.9)

    def converges() -> Any:
        return TuningJobCompletionCriteriaConfig(complete_on_convergence=True)

    def instances() -> list[Any]:
        return [InstanceConfig(1, name, 30) for name in ("ml.m5.xlarge", "ml.m5.2xlarge")]

    SEVERAL, INPUTS = "estimator_dict", "s3://data/train"
else:
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.parameter import CategoricalParameter, ContinuousParameter, IntegerParameter
    from sagemaker.core.shapes import (
        ConvergenceDetected,
        HyperbandStrategyConfig,
        HyperParameterTuningInstanceConfig,
        HyperParameterTuningJobStrategyConfig,
        HyperParameterTuningJobWarmStartConfig,
        ParentHyperParameterTuningJob,
        TuningJobCompletionCriteria,
    )
    from sagemaker.train import ModelTrainer
    from sagemaker.train.configs import Compute, OutputDataConfig, SourceCode
    from sagemaker.train.tuner import HyperparameterTuner

    def estimator(*, is_script: bool = True, **fixed: Any) -> Any:
        source = SourceCode(source_dir=asked["source_dir"], entry_script="train.py") if is_script else None
        return ModelTrainer(
            training_image=IMAGE,
            role=ROLE,
            compute=Compute(instance_type="ml.m5.large", instance_count=1),
            source_code=source,
            output_data_config=OutputDataConfig(s3_output_path="s3://results"),
            hyperparameters={**FIXED, "lr": 0.5, **fixed},
            sagemaker_session=Session(boto3.Session(), default_bucket="bucket"),
        )

    def warm_start() -> Any:
        return HyperParameterTuningJobWarmStartConfig(
            parent_hyper_parameter_tuning_jobs=[
                ParentHyperParameterTuningJob(hyper_parameter_tuning_job_name="parent")
            ],
            warm_start_type="IdenticalDataAndAlgorithm",
        )

    def hyperband() -> Any:
        return HyperParameterTuningJobStrategyConfig(
            hyperband_strategy_config=HyperbandStrategyConfig(max_resource=9, min_resource=1)
        )

    def target() -> Any:
        return TuningJobCompletionCriteria(target_objective_metric_value=0.9)

    def converges() -> Any:
        return TuningJobCompletionCriteria(
            convergence_detected=ConvergenceDetected(complete_on_convergence="Enabled")
        )

    def instances() -> list[Any]:
        return [
            HyperParameterTuningInstanceConfig(instance_type=name, instance_count=1, volume_size_in_gb=30)
            for name in ("ml.m5.xlarge", "ml.m5.2xlarge")
        ]

    SEVERAL, INPUTS = "model_trainer_dict", "s3://data/train"


def ranges() -> dict[str, Any]:
    return {
        "lr": ContinuousParameter(0.001, 0.1, "Logarithmic"),
        "hidden": IntegerParameter(1, 9),
        "kind": CategoricalParameter(["a", "b"]),
    }


def tuner(trained: Any = None, **more: Any) -> Any:
    return HyperparameterTuner(
        trained or estimator(), "accuracy", more.pop("ranges", ranges()), DEFINITIONS, **{**SEARCH, **more}
    )


def several() -> Any:
    names = ("one", "two")
    return HyperparameterTuner.create(
        **{SEVERAL: {name: estimator() for name in names}},
        objective_metric_name_dict=dict.fromkeys(names, "accuracy"),
        hyperparameter_ranges_dict={name: ranges() for name in names},
        metric_definitions_dict=dict.fromkeys(names, DEFINITIONS),
    )


def shown(made: TunerSweep) -> dict[str, Any]:
    return {
        "sweep": made.sweep,
        "job": made.job.document,
        "program": made.job.program,
        "max_parallel": made.max_parallel,
        "seed": made.seed,
        "prior_runs": made.prior_runs,
    }


def converted(made: Any, inputs: Any = None) -> Any:
    try:
        return shown(read_tuner(made, inputs, os.environ))
    except SmsweepError as err:
        return str(err)


overridden = tuner()
overridden.override_resource_config(instances())
whole = tuner()
answers = {
    "script": converted(whole, INPUTS if asked["sdk"] == 2 else {"training": INPUTS}),
    "image": converted(tuner(estimator(is_script=False, verbose="true", decay="1e3", layers=[8, 4]))),
    "warm": converted(tuner(warm_start_config=warm_start())),
    "hyperband": converted(tuner(strategy="Hyperband", early_stopping_type="Off", strategy_config=hyperband())),
    "target": converted(tuner(completion_criteria_config=target())),
    "converges": converted(tuner(completion_criteria_config=converges())),
    "grid": converted(
        tuner(
            strategy="Grid", max_jobs=None, max_parallel_jobs=1, ranges={"kind": CategoricalParameter(["a", "b"])}
        )
    ),
    "instances": converted(overridden),
    "autotune": converted(
        tuner(autotune=True, hyperparameters_to_keep_static=["optimizer", "nesterov"], early_stopping_type="Off")
    ),
    "several": converted(several()),
    "estimator": converted(estimator()),
}
calls = list(sealed.calls)
sweep_id = smsweep.sweep(tuner=whole, name="tuned")
stored = smsweep.Api().sweep(sweep_id).sweep
sealed.answer(
    {
        **answers,
        "calls": calls,
        "stored": [stored.name, stored.seed, stored.config.program, bool(stored.source_hash)],
        "unchanged": [whole.latest_tuning_job, whole._current_job_name, whole.tags == SEARCH["tags"]],
    }
)
