"""Account, user and region that the emulator uses in ARNs."""

from __future__ import annotations

ACCOUNT = "123456789012"  # moto's default account; the emulator has only this one
USER_ARN = f"arn:aws:iam::{ACCOUNT}:user/local"
DEFAULT_REGION = "us-east-1"

LOG_GROUP = "/aws/sagemaker/TrainingJobs"


def job_arn(region: str, name: str) -> str:
    """Return the ARN of a training job."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:training-job/{name}"
