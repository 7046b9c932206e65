"""The URIs of AWS's framework images, from the same arguments as SageMaker's estimators.

Source of the account numbers: the SageMaker Python SDK 2.257.7, image_uri_config, November 2025.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from smsweep.errors import JobRejected

# (prefix of a region's name, domain of its registry)
DOMAINS = (
    ("cn-", "amazonaws.com.cn"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("", "amazonaws.com"),
)
# AWS's registries
ECR = re.compile(r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.[a-z0-9.-]+(?=/)")
GPU_FAMILY = re.compile(r"ml\.(p\d|g\d)")
OTHER_CHIPS = re.compile(r"ml\.((trn|inf)\d|[cmrt]\dg)")  # Trainium, Inferentia; Graviton
DEEP_LEARNING_MOSTLY = "763104351884"
DEEP_LEARNING = {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-east-2": "975050140332",
    "ap-northeast-3": "364406365360",
    "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ap-southeast-5": "550225433462",
    "ap-southeast-6": "633930458069",
    "ap-southeast-7": "590183813437",
    "ca-west-1": "204538143572",
    "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "il-central-1": "780543022126",
    "me-central-1": "914824155844",
    "me-south-1": "217643126080",
    "mx-central-1": "637423239942",
    "us-gov-east-1": "446045086412",
    "us-gov-west-1": "442386744353",
    "us-iso-east-1": "886529160074",
    "us-isob-east-1": "094389454867",
    "us-isof-east-1": "303241398832",
    "us-isof-south-1": "454834333376",
}
DEEP_LEARNING_REGIONS = (
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
)
CLASSIC = {  # scikit-learn, XGBoost
    "af-south-1": "510948584623",
    "ap-east-1": "651117190479",
    "ap-northeast-1": "354813040037",
    "ap-northeast-2": "366743142698",
    "ap-northeast-3": "867004704886",
    "ap-south-1": "720646828776",
    "ap-south-2": "628508329040",
    "ap-southeast-1": "121021644041",
    "ap-southeast-2": "783357654285",
    "ap-southeast-3": "951798379941",
    "ap-southeast-4": "106583098589",
    "ca-central-1": "341280168497",
    "ca-west-1": "190319476487",
    "cn-north-1": "450853457545",
    "cn-northwest-1": "451049120500",
    "eu-central-1": "492215442770",
    "eu-central-2": "680994064768",
    "eu-north-1": "662702820516",
    "eu-south-1": "978288397137",
    "eu-south-2": "104374241257",
    "eu-west-1": "141502667606",
    "eu-west-2": "764974769150",
    "eu-west-3": "659782779980",
    "il-central-1": "898809789911",
    "me-central-1": "272398656194",
    "me-south-1": "801668240914",
    "sa-east-1": "737474898029",
    "us-east-1": "683313688378",
    "us-east-2": "257758044811",
    "us-gov-east-1": "237065988967",
    "us-gov-west-1": "414596584902",
    "us-iso-east-1": "833128469047",
    "us-isob-east-1": "281123927165",
    "us-isof-east-1": "108575199400",
    "us-isof-south-1": "124985052026",
    "us-west-1": "746614075791",
    "us-west-2": "246618743249",
}
# (transformers, base framework and its version) -> the end of the tag, after "gpu-" and the Python version
HUGGING_FACE = {
    ("4.6.1", "pytorch1.6.0"): "cu110-ubuntu18.04",
    ("4.6.1", "pytorch1.7.1"): "cu110-ubuntu18.04",
    ("4.6.1", "pytorch1.8.1"): "cu111-ubuntu18.04",
    ("4.6.1", "tensorflow2.4.1"): "cu110-ubuntu18.04",
    ("4.10.2", "pytorch1.8.1"): "cu110-ubuntu18.04",
    ("4.10.2", "pytorch1.9.0"): "cu111-ubuntu20.04",
    ("4.10.2", "tensorflow2.4.1"): "cu110-ubuntu18.04",
    ("4.10.2", "tensorflow2.5.1"): "cu112-ubuntu18.04",
    ("4.11.0", "pytorch1.9.0"): "cu111-ubuntu20.04",
    ("4.11.0", "tensorflow2.5.1"): "cu112-ubuntu18.04",
    ("4.12.3", "pytorch1.9.1"): "cu111-ubuntu20.04",
    ("4.12.3", "tensorflow2.5.1"): "cu112-ubuntu18.04",
    ("4.17.0", "pytorch1.10.2"): "cu113-ubuntu20.04",
    ("4.17.0", "tensorflow2.6.3"): "cu112-ubuntu20.04",
    ("4.26.0", "pytorch1.13.1"): "cu117-ubuntu20.04",
    ("4.28.1", "pytorch2.0.0"): "cu118-ubuntu20.04",
    ("4.36.0", "pytorch2.1.0"): "cu121-ubuntu20.04",
    ("4.46.1", "pytorch2.3.0"): "cu121-ubuntu20.04",
    ("4.48.0", "pytorch2.3.0"): "cu121-ubuntu20.04",
    ("4.49.0", "pytorch2.5.1"): "cu124-ubuntu22.04",
    ("4.55.0", "pytorch2.7.1"): "cu128-ubuntu22.04",
    ("4.56.2", "pytorch2.8.0"): "cu129-ubuntu22.04",
}

# Repositories of AWS's built-in algorithms
ALGORITHMS = frozenset(
    {
        *("blazingtext", "factorization-machines", "forecasting-deepar", "image-classification", "ipinsights"),
        *("kmeans", "knn", "lda", "linear-learner", "ntm", "object-detection", "object2vec", "pca"),
        *("randomcutforest", "sagemaker-xgboost", "semantic-segmentation", "seq2seq", "xgboost"),
    }
)

# Python version -> PyTorch version of AWS's newest image with it
PYTORCH = {"3.10": "2.2.0", "3.11": "2.5.1", "3.12": "2.8.0"}
IN_TAG = re.compile(r"(?:-py|python:|python)(?P<major>3)\.?(?P<minor>\d{1,2})(?!\d)")


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


def algorithm_of_aws(image: str) -> str:
    """Return the repository of an image in ECR that has the name of one of AWS's built-in algorithms, or ""."""
    registry = ECR.match(image)
    repository = re.split("[:@]", image[registry.end() + 1 :])[0] if registry else ""
    return repository if repository in ALGORITHMS else ""


def check_python(request: Mapping[str, Any], environ: Mapping[str, str], python: str) -> None:
    """Raise JobRejected if the name of the image shows another Python. See `backends.base.CheckPython`."""
    image = str(request.get("AlgorithmSpecification", {}).get("TrainingImage", ""))
    found = IN_TAG.search(image.rpartition("/")[2])
    if found:
        refuse_python(image, f"{found['major']}.{found['minor']}", python)


def refuse_python(image: str, found: str, python: str) -> None:
    """Raise JobRejected if an image has another Python than a function needs.

    Args:
        image: Name of the image.
        found: The Python of the image, such as "3.10".
        python: The version that the function needs.
    """
    if found == python:
        return
    registry = ECR.match(image)
    if registry and python in PYTORCH:
        processor = "gpu" if "-gpu-" in image else "cpu"
        framework = {"framework": "pytorch", "framework_version": PYTORCH[python]}
        machine = ["ml.g5.xlarge"] if processor == "gpu" else []
        fitting = image_uri(
            {**framework, "py_version": f"py{python.replace('.', '')}"}, registry["region"], machine
        )
    elif registry:
        fitting = f"an image that you build from python:{python}-slim"
    else:
        fitting = f"an image such as python:{python}-slim"
    raise JobRejected(
        f"image {image} has Python {found}, but the function was pickled by Python {python}, and only the same "
        f"version can load it; set image_uri in job.yaml to {fitting}, or call smsweep.agent with Python {found}"
    )
