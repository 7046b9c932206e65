"""A user's program for SDK 2.x, as for AWS: it has no reference to smsweep or to an endpoint.

Runs in that SDK's environment. IMAGE and BUCKET select the image and the bucket.
"""

import os

from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.s3 import S3Downloader
from sagemaker.session import Session

bucket = os.environ["BUCKET"]
estimator = Estimator(
    image_uri=os.environ["IMAGE"],
    role="arn:aws:iam::123456789012:role/trainer",
    instance_count=1,
    instance_type="ml.m5.large",
    entry_point="train.py",
    source_dir="source",
    output_path=f"s3://{bucket}/out",
    hyperparameters={"epochs": 2},
    environment={"TEAM": "red"},
    max_run=300,
    sagemaker_session=Session(default_bucket=bucket),
)

estimator.fit({"training": TrainingInput(f"s3://{bucket}/data")}, wait=True, logs="All")
S3Downloader.download(estimator.model_data, "model")
