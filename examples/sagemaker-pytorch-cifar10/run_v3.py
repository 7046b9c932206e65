"""Run the sweep with a ModelTrainer of the SageMaker SDK 3.x.

    pip install smsweep 'sagemaker>=3'
    SAGEMAKER_ROLE=arn:aws:iam::123456789012:role/SageMakerRole python run_v3.py

Optional variables: CIFAR10 is the location of the data set (s3://my-bucket/cifar10), WANDB_SECRET is the ARN that
`smsweep auth` prints, and GPU=1 selects GPU machines with spot capacity.
"""

import os
from pathlib import Path

import boto3
from sagemaker.core import image_uris
from sagemaker.core.shapes import MetricDefinition
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, SourceCode, StoppingCondition

import smsweep

HERE = Path(__file__).parent
ACCURACY = MetricDefinition(name="average test accuracy", regex=r"Test Accuracy: ([0-9\.]+)")


def trainer(**more):
    secret = os.environ.get("WANDB_SECRET")
    is_spot = bool(os.environ.get("GPU"))
    instance = "ml.g5.xlarge" if is_spot else "ml.c5.xlarge"
    limits = {"max_runtime_in_seconds": 86400}
    if is_spot:
        limits = {"max_runtime_in_seconds": 3600, "max_wait_time_in_seconds": 7200}
    made = ModelTrainer(
        training_image=image_uris.retrieve(
            "pytorch",
            boto3.Session().region_name,
            version="2.3.0",
            py_version="py311",
            instance_type=instance,
            image_scope="training",
        ),
        source_code=SourceCode(
            source_dir=str(HERE / "source"), entry_script="train.py", requirements="requirements.txt"
        ),
        role=os.environ["SAGEMAKER_ROLE"],
        compute=Compute(instance_type=instance, instance_count=1, enable_managed_spot_training=is_spot),
        stopping_condition=StoppingCondition(**limits),
        environment={"SMSWEEP_SECRET_WANDB_API_KEY": secret} if secret else {},
        **more,
    )
    return made.with_metric_definitions([ACCURACY])


def main():
    data = os.environ.get("CIFAR10")
    inputs = {"training": data} if data else None
    print(smsweep.run(HERE / "sweep.yaml", estimator=trainer(), inputs=inputs, parallel=4))


if __name__ == "__main__":
    main()
