"""Run the sweep with a ModelTrainer of the SageMaker SDK 3.x.

    pip install smsweep 'sagemaker>=3'
    SAGEMAKER_ROLE=arn:aws:iam::123456789012:role/SageMakerRole python run_v3.py

Optional variables: CIFAR10 is the location of the data set (s3://my-bucket/cifar10), and WANDB_SECRET is the ARN
that `smsweep auth` prints.
"""

import os
from pathlib import Path

import boto3
from sagemaker.core import image_uris
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, SourceCode, StoppingCondition

import smsweep

HERE = Path(__file__).parent
INSTANCE = "ml.g5.xlarge"


def trainer(**more):
    secret = os.environ.get("WANDB_SECRET")
    return ModelTrainer(
        training_image=image_uris.retrieve(
            "pytorch",
            boto3.Session().region_name,
            version="2.3.0",
            py_version="py311",
            instance_type=INSTANCE,
            image_scope="training",
        ),
        source_code=SourceCode(
            source_dir=str(HERE / "source"), entry_script="train.py", requirements="requirements.txt"
        ),
        role=os.environ["SAGEMAKER_ROLE"],
        compute=Compute(instance_type=INSTANCE, instance_count=1, enable_managed_spot_training=True),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=3600, max_wait_time_in_seconds=7200),
        environment={"SMSWEEP_SECRET_WANDB_API_KEY": secret} if secret else {},
        **more,
    )


def main():
    data = os.environ.get("CIFAR10")
    inputs = {"training": data} if data else None
    print(smsweep.run(HERE / "sweep.yaml", estimator=trainer(), inputs=inputs, parallel=4))


if __name__ == "__main__":
    main()
