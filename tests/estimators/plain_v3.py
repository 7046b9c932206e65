"""A user's program for SDK 3.x, as for AWS: it has no reference to smsweep or to an endpoint.

Runs in that SDK's environment. IMAGE and BUCKET select the image and the bucket.
"""

import logging  # SDK 3.x uses it to show the log of a job
import os

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.s3 import S3Downloader
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, OutputDataConfig, SourceCode, StoppingCondition

logging.basicConfig(level=logging.INFO)
bucket = os.environ["BUCKET"]
trainer = ModelTrainer(
    training_image=os.environ["IMAGE"],
    role="arn:aws:iam::123456789012:role/trainer",
    compute=Compute(instance_type="ml.m5.large", instance_count=1),
    source_code=SourceCode(source_dir="source", entry_script="train.py"),
    output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/out"),
    hyperparameters={"epochs": 2},
    environment={"TEAM": "red"},
    stopping_condition=StoppingCondition(max_runtime_in_seconds=300),
    sagemaker_session=Session(default_bucket=bucket),
)

trainer.train(input_data_config=[InputData(channel_name="training", data_source=f"s3://{bucket}/data")])
model = next(uri for uri in S3Downloader.list(f"s3://{bucket}/out") if uri.endswith("model.tar.gz"))
S3Downloader.download(model, "model")
