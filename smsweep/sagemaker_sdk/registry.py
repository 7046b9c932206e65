"""Select the compiler for an object of the SageMaker SDK by its class, without importing the SDK."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from smsweep.core.job import JobTemplate
from smsweep.errors import UsageError
from smsweep.util.lazy_registry import LazyTable

Compile = Callable[[Any, Any], JobTemplate]  # (object, inputs)

COMPILERS: Mapping[str, Compile] = LazyTable(
    {
        "sagemaker.estimator.EstimatorBase": "smsweep.sagemaker_sdk.v2:template",
        "sagemaker.modules.train.model_trainer.ModelTrainer": "smsweep.sagemaker_sdk.v3:template",  # v3's, in v2
        "sagemaker.train.model_trainer.ModelTrainer": "smsweep.sagemaker_sdk.v3:template",
    }
)


def template(obj: Any, inputs: Any = None) -> JobTemplate:
    """Compile an Estimator (SDK v2) or a ModelTrainer (v3) into a job template. The object is not changed.

    No request is sent to AWS if all data are in S3 and the role is an ARN.

    Args:
        obj: The Estimator or ModelTrainer.
        inputs: The argument of its `fit` or `train`, or a mapping of channel names to URIs.

    Raises:
        UsageError: For any other object.
        ConfigError: For settings that a sweep does not support.
    """
    for ancestor in type(obj).__mro__:
        name = f"{ancestor.__module__}.{ancestor.__qualname__}"
        if name in COMPILERS:
            return COMPILERS[name](obj, inputs)
    raise UsageError(
        f"estimator: expected an Estimator or a ModelTrainer of the SageMaker SDK, got {type(obj).__name__}; "
        "pass a job.yaml as job="
    )
