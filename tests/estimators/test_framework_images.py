"""Tests of framework images, compared with those of SDK 2.x."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from smsweep.aws.image_uris import image_uri
from smsweep.errors import JobRejected
from tools.environments import oracle

OLD = ("0.20.0", "1", "0.90-1", "0.90-2", "1.0-1")  # scikit-learn and XGBoost: older images have other names


@pytest.mark.oracle
def test_framework_image_equals_sdk_image() -> None:
    result = oracle("sagemaker2").ask(Path(__file__).with_name("ask_images.py"), None, timeout_s=900)
    recent = [each for each in result if each[0].get("framework_version") not in OLD]
    differences = [each for each in recent if ours(*each[:3]) != each[3]]
    assert not differences
    regions = {region for _, region, _, uri in recent if uri}
    assert len(recent) > 250
    assert {"cn-north-1", "us-gov-west-1", "us-iso-east-1", "eu-central-2"} <= regions


@pytest.mark.parametrize("machine", ["ml.trn1.2xlarge", "ml.inf2.xlarge", "ml.c7g.xlarge", "ml.m6gd.large"])
def test_image_for_other_kind_of_machine_is_refused(machine: str) -> None:
    words = {"framework": "pytorch", "framework_version": "2.3.0", "py_version": "py311"}
    with pytest.raises(JobRejected, match=r"set image_uri in job\.yaml to an image for that type"):
        image_uri(words, "eu-west-1", [machine])


def ours(words: Mapping[str, str], region: str, machine: str) -> str:
    try:
        return image_uri(words, region, [machine])
    except JobRejected:
        return ""
