"""Trust policies and images, without calls to AWS."""

from __future__ import annotations

from typing import Any

import pytest

from smsweep.aws.client import Aws
from smsweep.backends.sagemaker.doctor import check_image, trusts_sagemaker
from smsweep.config_files.job_yaml import parse_job

ASSUME = "sts:AssumeRole"


@pytest.mark.parametrize(
    ("statement", "is_trusted"),
    [
        ({"Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": ASSUME}, True),
        ({"Principal": {"Service": ["ec2.amazonaws.com", "sagemaker.amazonaws.com"]}, "Action": "sts:*"}, True),
        ({"Principal": {"Service": "ec2.amazonaws.com"}, "Action": ASSUME}, False),
        ({"Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": ["sts:TagSession"]}, False),
        ({"Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": ASSUME}, False),
        ({"Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": ASSUME, "Effect": "Deny"}, False),
        ({}, False),
    ],
)
def test_trust_policy_allows_sagemaker_to_assume_the_role(statement: dict[str, Any], is_trusted: bool) -> None:
    one = {"Effect": "Allow", **statement}
    assert trusts_sagemaker({"Statement": one}) == trusts_sagemaker({"Statement": [one]}) == is_trusted


FRAMEWORK = {"framework": "pytorch", "framework_version": "2.3.0", "py_version": "py311"}


@pytest.mark.parametrize(
    ("job", "is_ok", "message"),
    [
        (
            {"image_uri": "999999999999.dkr.ecr.us-east-1.amazonaws.com/train:1"},
            False,
            "only the job can check it",
        ),
        ({"image_uri": "docker.io/library/python:3.12"}, False, "is not in ECR"),
        ({"image_uri": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/train:1"}, False, "is in eu-west-1, but the"),
        (FRAMEWORK, True, "is AWS's image for the framework"),
    ],
)
def test_image_that_ecr_cannot_describe_is_no_failure(job: dict[str, Any], is_ok: bool, message: str) -> None:
    role = "arn:aws:iam::123456789012:role/trainer"
    template = parse_job({"role": role, "instance_type": "ml.m5.large", **job}).template
    found = check_image(Aws({"AWS_REGION": "us-east-1"}), template, "123456789012")
    assert (found.is_ok, found.is_required) == (is_ok, False)
    assert message in found.result


def test_job_without_an_image_fails() -> None:
    template = parse_job({"role": "arn:aws:iam::123456789012:role/trainer"}).template
    found = check_image(Aws({"AWS_REGION": "us-east-1"}), template, "123456789012")
    assert (found.is_ok, found.is_required, found.result) == (False, True, "job.yaml names none")
