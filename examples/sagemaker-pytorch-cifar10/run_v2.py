"""Run the sweep with an Estimator of the SageMaker SDK 2.x.

    pip install smsweep 'sagemaker<3'
    SAGEMAKER_ROLE=arn:aws:iam::123456789012:role/SageMakerRole python run_v2.py

Optional variables: CIFAR10 is the location of the data set (s3://my-bucket/cifar10), WANDB_SECRET is the ARN that
`smsweep auth` prints, and GPU=1 selects GPU machines with spot capacity.
"""

import os
from pathlib import Path

from sagemaker.pytorch import PyTorch

import smsweep

HERE = Path(__file__).parent
SPOT = {"instance_type": "ml.g5.xlarge", "use_spot_instances": True, "max_run": 3600, "max_wait": 7200}


def estimator(**more):
    secret = os.environ.get("WANDB_SECRET")
    machine = SPOT if os.environ.get("GPU") else {"instance_type": "ml.c5.xlarge"}
    return PyTorch(
        entry_point="train.py",
        source_dir=str(HERE / "source"),
        framework_version="2.3.0",
        py_version="py311",
        role=os.environ["SAGEMAKER_ROLE"],
        instance_count=1,
        metric_definitions=[{"Name": "average test accuracy", "Regex": r"Test Accuracy: ([0-9\.]+)"}],
        environment={"SMSWEEP_SECRET_WANDB_API_KEY": secret} if secret else {},
        **machine,
        **more,
    )


def main():
    data = os.environ.get("CIFAR10")
    inputs = {"training": data} if data else None
    print(smsweep.run(HERE / "sweep.yaml", estimator=estimator(), inputs=inputs, parallel=4))


if __name__ == "__main__":
    main()
