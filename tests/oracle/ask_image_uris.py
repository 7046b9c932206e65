"""Call image_uris.retrieve of the SageMaker SDK for each question on stdin. Runs in the SDK's environment."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "estimators"))
from sealed import read_data_files_once  # type: ignore[import-not-found]

read_data_files_once()
answers, sys.stdout = sys.stdout, sys.stderr  # the SDK prints to stdout during its import

from sagemaker import image_uris  # noqa: E402

logging.disable(logging.CRITICAL)


def answer(question: dict[str, str]) -> str:
    base = question.pop("base", None)
    name = question.pop("framework")
    uri: str = image_uris.retrieve(
        name,
        region=question["region"],
        version=question["version"],
        py_version=question.get("python"),
        instance_type=question["instance"],
        image_scope="training",
        base_framework_version=base,
    )
    return uri


print(json.dumps([answer(question) for question in json.load(sys.stdin)]), file=answers)
