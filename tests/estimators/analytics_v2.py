"""A user's program for SDK 2.x: a script in an isolated network, its metrics, and the default bucket.

Runs in that SDK's environment. BUCKET is the bucket of the SDK's configuration file.
"""

import json
import os

from sagemaker.analytics import TrainingJobAnalytics
from sagemaker.pytorch import PyTorch
from sagemaker.session import Session

session = Session()
assert session.default_bucket() == os.environ["BUCKET"]
estimator = PyTorch(
    image_uri="123456789012.dkr.ecr.us-east-1.amazonaws.com/train:1",
    role="arn:aws:iam::123456789012:role/trainer",
    instance_count=1,
    instance_type="ml.m5.large",
    entry_point="train.py",
    source_dir="source",
    enable_network_isolation=True,
    metric_definitions=[{"Name": "test loss", "Regex": "loss=([0-9.]+)"}],
    sagemaker_session=session,
)
estimator.fit(wait=True, logs=False)
rows = TrainingJobAnalytics(estimator.latest_training_job.name, sagemaker_session=session).dataframe()
print("ROWS " + json.dumps(rows[["metric_name", "value"]].values.tolist()))
