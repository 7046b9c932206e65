"""Images of frameworks equal those of the SageMaker SDK, in every region."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from smsweep.aws.image_uris import image_uri
from tools.environments import oracle

ASK = Path(__file__).with_name("ask_image_uris.py")
REGIONS = (
    *("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "eu-south-1", "ap-northeast-1", "ap-northeast-3"),
    *("me-south-1", "af-south-1", "cn-north-1", "cn-northwest-1", "us-gov-west-1", "us-iso-east-1"),
)
MACHINES = ("ml.m5.xlarge", "ml.g5.xlarge", "ml.p3.2xlarge", "ml.c5.large")


@pytest.mark.oracle
def test_image_uris_equal_sdk() -> None:
    questions, ours = [], []
    for region, machine in product(REGIONS, MACHINES):
        for name, version, python in (("pytorch", "2.1.0", "py310"), ("tensorflow", "2.14.1", "py310")):
            questions.append(_ask(name, region, machine, version=version, python=python))
            ours.append(image_uri(_words(name, version, python), region, [machine]))
        if machine.startswith("ml.m5"):
            questions.append(_ask("sklearn", region, machine, version="1.2-1", python="py3"))
            ours.append(image_uri(_words("sklearn", "1.2-1", "py3"), region, [machine]))
            questions.append(_ask("xgboost", region, machine, version="1.7-1", python="py3"))
            ours.append(image_uri(_words("xgboost", "1.7-1", "py3"), region, [machine]))
        if machine.startswith("ml.g5"):
            base = {"version": "4.36.0", "base": "pytorch2.1.0", "python": "py310"}
            questions.append(_ask("huggingface", region, machine, **base))
            words = {"framework": "huggingface", "transformers_version": "4.36.0", "pytorch_version": "2.1.0"}
            ours.append(image_uri({**words, "py_version": "py310"}, region, [machine]))
    assert oracle("sagemaker2").ask(ASK, questions) == ours


def _ask(name: str, region: str, machine: str, **words: str) -> dict[str, str]:
    return {"framework": name, "region": region, "instance": machine, **words}


def _words(name: str, version: str, python: str) -> dict[str, str]:
    return {"framework": name, "framework_version": version, "py_version": python}
