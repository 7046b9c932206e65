"""A user's program for the tuner of SDK 2.x, as for AWS: it has no reference to smsweep or to an endpoint.

Runs in that SDK's environment. BUCKET selects the bucket. The last line of stdout has the results as JSON.
"""

import json
import os

from sagemaker.pytorch import PyTorch
from sagemaker.session import Session
from sagemaker.tuner import CategoricalParameter, ContinuousParameter, HyperparameterTuner, IntegerParameter

bucket = os.environ["BUCKET"]
session = Session(default_bucket=bucket)
estimator = PyTorch(
    entry_point="train.py",
    source_dir="source",
    role="arn:aws:iam::123456789012:role/trainer",
    framework_version="1.12.1",
    py_version="py38",
    instance_count=1,
    instance_type="ml.c5.xlarge",
    output_path=f"s3://{bucket}/out",
    hyperparameters={"epochs": 2},
    sagemaker_session=session,
)
definitions = [{"Name": "average test accuracy", "Regex": r"Test Accuracy: ([0-9\.]+)"}]
ranges = {
    "lr": ContinuousParameter(0.001, 0.1, "Logarithmic"),
    "hidden": IntegerParameter(1, 9),
    "optimizer": CategoricalParameter(["sgd", "adam"]),
}
tuner = HyperparameterTuner(
    estimator,
    "average test accuracy",
    ranges,
    definitions,
    strategy="Bayesian",
    objective_type="Maximize",
    max_jobs=3,
    max_parallel_jobs=2,
    early_stopping_type="Auto",
    base_tuning_job_name="first",
    tags=[{"Key": "team", "Value": "red"}],
)
tuner.fit({"training": f"s3://{bucket}/data"}, wait=True)
frame = tuner.analytics().dataframe()
best = tuner.best_estimator()

attached = HyperparameterTuner.attach(tuner.latest_tuning_job.name, sagemaker_session=session)

child = tuner.transfer_learning_tuner(estimator=estimator)
child.fit({"training": f"s3://{bucket}/data"}, wait=False)
child.stop_tuning_job()
child.wait()

print(
    json.dumps(
        {
            "status": tuner.describe()["HyperParameterTuningJobStatus"],
            "values": frame["FinalObjectiveValue"].tolist(),
            "columns": sorted(frame.columns),
            "best": tuner.best_training_job(),
            "best_of_attached": attached.best_training_job(),
            "model": best.model_data,
            "hyperparameters": best.hyperparameters(),
            "child": child.describe()["HyperParameterTuningJobStatus"],
            "parents": child.describe()["WarmStartConfig"],
            "ranges": sorted(tuner.analytics().tuning_ranges),
        }
    )
)
