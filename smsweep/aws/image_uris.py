"""The URIs of AWS's framework images, from the same arguments as SageMaker's estimators."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from smsweep.aws.image_accounts import (
    CLASSIC,
    DEEP_LEARNING,
    DEEP_LEARNING_MOSTLY,
    DEEP_LEARNING_REGIONS,
    HUGGING_FACE,
)
from smsweep.errors import JobRejected

# (prefix of a region's name, domain of its registry)
DOMAINS = (
    ("cn-", "amazonaws.com.cn"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("", "amazonaws.com"),
)
GPU_FAMILY = re.compile(r"ml\.(p\d|g\d)")
OTHER_CHIPS = re.compile(r"ml\.((trn|inf)\d|[cmrt]\dg)")  # Trainium, Inferentia; Graviton


def machines(request: Mapping[str, Any]) -> list[str]:
    """Return the instance types of a request, in its order."""
    resources = request.get("ResourceConfig", {})
    groups = [resources, *resources.get("InstanceGroups", ()), *resources.get("InstancePreferences", ())]
    return [group["InstanceType"] for group in groups if "InstanceType" in group]


def image_uri(framework: Mapping[str, str], region: str, instance_types: Sequence[str]) -> str:
    """Return the image that an estimator of the SageMaker SDK uses.

    Args:
        framework: `framework`, `framework_version`, `py_version` and so on of job.yaml.
        region: The region of the registry.
        instance_types: All types that the job may run on. If one has a GPU, the result is the GPU image.

    Raises:
        JobRejected: If AWS has no such image.
    """
    for instance_type in filter(OTHER_CHIPS.match, instance_types):
        raise JobRejected(
            f"SageMaker: framework selects images for CPU and GPU machines, and {instance_type} is neither; set "
            "image_uri in job.yaml to an image for that type"
        )
    name, version = framework["framework"], framework.get("framework_version", "")
    python = framework.get("py_version", "")
    processor = "gpu" if any(map(GPU_FAMILY.match, instance_types)) else "cpu"
    if name == "sklearn":
        return _uri(_account(CLASSIC, region), region, f"sagemaker-scikit-learn:{version}-cpu-py3")
    if name == "xgboost":
        return _uri(_account(CLASSIC, region), region, f"sagemaker-xgboost:{version}")
    account = DEEP_LEARNING_MOSTLY if region in DEEP_LEARNING_REGIONS else _account(DEEP_LEARNING, region)
    if name == "huggingface":
        return _uri(account, region, _hugging_face(framework, python))
    return _uri(account, region, f"{name}-training:{version}-{processor}-{python}")


def _hugging_face(framework: Mapping[str, str], python: str) -> str:
    base = "pytorch" if "pytorch_version" in framework else "tensorflow"
    version, transformers = framework[f"{base}_version"], framework["transformers_version"]
    ending = HUGGING_FACE.get((transformers, f"{base}{version}"))
    if ending is None:
        known = ", ".join(sorted(b for t, b in HUGGING_FACE if t == transformers)) or "no version of it"
        raise JobRejected(
            f"SageMaker: no huggingface image is known for transformers {transformers} with {base} {version}: "
            f"there is {known}; give image_uri in job.yaml"
        )
    return f"huggingface-{base}-training:{version}-transformers{transformers}-gpu-{python}-{ending}"


def _account(accounts: Mapping[str, str], region: str) -> str:
    if region not in accounts:
        raise JobRejected(
            f"SageMaker: no framework images are known for region {region}; give image_uri in job.yaml"
        )
    return accounts[region]


def _uri(account: str, region: str, image: str) -> str:
    domain = next(domain for beginning, domain in DOMAINS if region.startswith(beginning))
    return f"{account}.dkr.ecr.{region}.{domain}/{image}"
