"""The machine of a job: its hosts, channels, CPUs and accelerators."""

from __future__ import annotations

import functools
import json
import os
import re

from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.opt_ml_layout import CHANNEL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from smsweep.runtime.opt_ml_layout import Layout

SINGLE_HOST = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
_GPU = re.compile(r"nvidia\d+")  # device files; a container has only those that it may use
_NEURON = re.compile(r"neuron\d+")


class Resources:
    """The content of `input/config`, and the CPUs and accelerators of this host."""

    def __init__(
        self,
        *,
        resource_config: dict[str, Any],  # resourceconfig.json, or its equivalent for a job on one host
        input_data_config: dict[str, Any],  # inputdataconfig.json without smsweep's own channel
        num_cpus: int,
        num_gpus: int = 0,
        num_neurons: int = 0,
    ) -> None:
        self.resource_config = resource_config
        self.input_data_config = input_data_config
        self.num_cpus = num_cpus
        self.num_gpus = num_gpus
        self.num_neurons = num_neurons


def find_resources(layout: Layout) -> Resources:
    """Return the resources of this job.

    Raises:
        JobFailure: If a file of `input/config` cannot be read.
    """
    channels = read_json(layout.input_data_config)
    channels.pop(CHANNEL, None)
    devices = device_names()
    return Resources(
        resource_config={**SINGLE_HOST, **read_json(layout.resource_config)},
        input_data_config=channels,
        num_cpus=os.cpu_count() or 1,
        num_gpus=sum(1 for name in devices if _GPU.fullmatch(name)),
        num_neurons=sum(1 for name in devices if _NEURON.fullmatch(name)),
    )


def read_json(path: str) -> dict[str, Any]:
    """Return the JSON object in a file of `input/config`; {} if the file is missing, as outside SageMaker.

    Raises:
        JobFailure: If the file cannot be read, or is not a JSON object.
    """
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        raise JobFailure(f"{path}: cannot be read as JSON: {err}") from err
    if not isinstance(document, dict):
        raise JobFailure(f"{path}: expected a JSON object, got {type(document).__name__}")
    return document


@functools.lru_cache(maxsize=None)
def device_names() -> list[str]:
    """Return the names in /dev at the first call. Cached: listing is slow, and a job's devices do not change."""
    try:
        return os.listdir("/dev")
    except OSError:
        return []
