"""Which compiler takes which object of the SageMaker SDK, known by its classes without importing the SDK."""

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
    """Compile an Estimator (SDK v2) or a ModelTrainer (v3), which stays as it is, into a job template.

    inputs: what its `fit` or `train` takes, or channel name -> URI with either. Where everything it names is in
    S3 and its role is an ARN, nothing is asked of AWS. Raises UsageError for another object, ConfigError for
    what a sweep cannot run.
    """
    for ancestor in type(obj).__mro__:
        name = f"{ancestor.__module__}.{ancestor.__qualname__}"
        if name in COMPILERS:
            return COMPILERS[name](obj, inputs)
    raise UsageError(
        f"estimator: expected an Estimator or a ModelTrainer of the SageMaker SDK, got {type(obj).__name__}; "
        "a job.yaml is given as job="
    )
