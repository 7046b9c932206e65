"""Who and where we are, as far as AWS's names need it."""

from __future__ import annotations

ACCOUNT = "123456789012"  # moto's; everything behind the endpoint is of one account
USER_ARN = f"arn:aws:iam::{ACCOUNT}:user/local"
DEFAULT_REGION = "us-east-1"

LOG_GROUP = "/aws/sagemaker/TrainingJobs"


def job_arn(region: str, name: str) -> str:
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:training-job/{name}"
