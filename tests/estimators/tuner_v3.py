"""A user's program for the tuner of SDK 3.x, as for AWS: it has no reference to smsweep or to an endpoint.

Runs in that SDK's environment. BUCKET selects the bucket. The last line of stdout has the results as JSON.
"""

import json
import os

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.parameter import CategoricalParameter, ContinuousParameter, IntegerParameter
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, OutputDataConfig, SourceCode, StoppingCondition
from sagemaker.train.tuner import HyperparameterTuner

bucket = os.environ["BUCKET"]
trainer = ModelTrainer(
    training_image="image",
    role="arn:aws:iam::123456789012:role/trainer",
    compute=Compute(instance_type="ml.m5.large", instance_count=1),
    source_code=SourceCode(source_dir="source", entry_script="train.py"),
    output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/out"),
    hyperparameters={"epochs": 2},
    stopping_condition=StoppingCondition(max_runtime_in_seconds=300),
    sagemaker_session=Session(default_bucket=bucket),
)
tuner = HyperparameterTuner(
    trainer,
    "average test accuracy",
    {
        "lr": ContinuousParameter(0.001, 0.1, "Logarithmic"),
        "hidden": IntegerParameter(1, 9),
        "optimizer": CategoricalParameter(["sgd", "adam"]),
    },
    [{"Name": "average test accuracy", "Regex": r"Test Accuracy: ([0-9\.]+)"}],
    strategy="Random",
    objective_type="Maximize",
    max_jobs=3,
    max_parallel_jobs=2,
    base_tuning_job_name="third",
    random_seed=7,
)
tuner.tune(inputs=[InputData(channel_name="training", data_source=f"s3://{bucket}/data")], wait=True)
description = tuner.describe()
best = description.best_training_job
print(
    json.dumps(
        {
            "status": description.hyper_parameter_tuning_job_status,
            "completed": description.training_job_status_counters.completed,
            "best": tuner.best_training_job(),
            "value": best.final_hyper_parameter_tuning_job_objective_metric.value,
            "hidden": best.tuned_hyper_parameters["hidden"],
        }
    )
)
