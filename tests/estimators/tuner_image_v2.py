"""A user's program for the tuner of SDK 2.x and an image with its own program, as for AWS.

Runs in the environment of that SDK. IMAGE and BUCKET select the image and the bucket. The last line
of stdout has the results as JSON.
"""

import json
import os

from sagemaker.estimator import Estimator
from sagemaker.session import Session
from sagemaker.tuner import HyperparameterTuner, IntegerParameter

bucket = os.environ["BUCKET"]
estimator = Estimator(
    image_uri=os.environ["IMAGE"],
    role="arn:aws:iam::123456789012:role/trainer",
    instance_count=1,
    instance_type="ml.m5.large",
    output_path=f"s3://{bucket}/out",
    hyperparameters={"lr": 0.1},
    sagemaker_session=Session(default_bucket=bucket),
)
tuner = HyperparameterTuner(
    estimator,
    "loss",
    {"x": IntegerParameter(1, 9)},
    [{"Name": "loss", "Regex": "loss=([0-9.]+);"}],
    objective_type="Minimize",
    max_jobs=3,
    max_parallel_jobs=2,
)
tuner.fit(wait=True)
best = tuner.best_estimator()
frame = tuner.analytics().dataframe()
print(
    json.dumps(
        {
            "status": tuner.describe()["HyperParameterTuningJobStatus"],
            "values": dict(zip(frame["x"], frame["FinalObjectiveValue"], strict=True)),
            "best": best.hyperparameters()["x"],
            "model": best.model_data,
        }
    )
)
