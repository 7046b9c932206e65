"""Environment variables that jobs inherit from the emulator's process: a short list without secrets.

Jobs get all other variables from their requests and from the emulator, as on SageMaker.
"""

from __future__ import annotations

from collections.abc import Mapping

from smsweep.emulator.account import DEFAULT_REGION
from smsweep.emulator.api.access_keys import AccessKey

NAMES = frozenset(
    (
        # The user, the interpreter and its libraries.
        *(
            "HOME",
            "USER",
            "LOGNAME",
            "PATH",
            "LD_LIBRARY_PATH",
            "VIRTUAL_ENV",
            "CONDA_PREFIX",
            "CUDA_VISIBLE_DEVICES",
        ),
        *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TMPDIR", "LANG", "LANGUAGE", "TZ"),
        # Access of pip to its index.
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    )
)
PREFIXES = ("LC_", "PIP_")
# Access of the docker backend to its engine. Containers inherit none of these.
ENGINE_NAMES = frozenset(
    ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY")
)
ENGINE_PREFIXES = ("SMSWEEP_DOCKER_",)
NO_FILE = "/dev/null"


def job_environment(
    environ: Mapping[str, str], url: str, key: AccessKey, *, in_containers: bool
) -> dict[str, str]:
    """Return the environment that a backend receives for its jobs.

    Args:
        environ: The environment of the user who runs the emulator.
        url: The URL of the emulator from inside a job.
        key: The access key of the jobs.
        in_containers: True if the backend needs the settings of a Docker Engine.
    """
    names = NAMES | ENGINE_NAMES if in_containers else NAMES
    prefixes = PREFIXES + ENGINE_PREFIXES if in_containers else PREFIXES
    inherited = {
        name: value for name, value in environ.items() if name.upper() in names or name.startswith(prefixes)
    }
    return {
        **inherited,
        **client_environment(url, key),
        "AWS_CONFIG_FILE": NO_FILE,
        "AWS_SHARED_CREDENTIALS_FILE": NO_FILE,
    }


def client_environment(url: str, key: AccessKey) -> dict[str, str]:
    """Return the variables that make AWS SDKs and tools use the emulator.

    Args:
        url: The URL of the emulator.
        key: An access key that the emulator accepts.
    """
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "AWS_REGION": DEFAULT_REGION,
        "AWS_DEFAULT_REGION": DEFAULT_REGION,  # boto3 reads this one
    }
