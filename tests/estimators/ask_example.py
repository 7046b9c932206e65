"""Compile the object that run_v2.py or run_v3.py of an example creates. Runs in the environment of that SDK.

stdin: {"sdk": 2 or 3, "gpu": "" or "1", "script": ...}. stdout: the template, and the attempted connections.
"""

from __future__ import annotations

import dataclasses
import os
import runpy

import sealed  # type: ignore[import-not-found]  # beside this script

asked = sealed.question()
sealed.seal()
os.environ["GPU"] = asked["gpu"]
os.environ["SAGEMAKER_ROLE"] = "arn:aws:iam::123456789012:role/SageMakerRole"

from smsweep.sagemaker_sdk.compiled import template  # noqa: E402  # after the seal

names = runpy.run_path(asked["script"])
if asked["sdk"] == 2:
    made = names["estimator"]()
else:
    from sagemaker.train.configs import OutputDataConfig

    made = names["trainer"](
        output_data_config=OutputDataConfig(s3_output_path="s3://results")
    )  # otherwise AWS is called
sealed.answer({"template": dataclasses.asdict(template(made)), "calls": sealed.calls})
