"""The machine this job runs on: the other hosts, the channels, and what there is to compute with."""

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

ALONE = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
_GPU = re.compile(r"nvidia\d+")  # device files; a container has those it may use
_NEURON = re.compile(r"neuron\d+")


class Resources:
    """What `input/config` says of this host, and what the host says of itself."""

    def __init__(
        self,
        *,
        resource_config: dict[str, Any],  # resourceconfig.json, or that of a job on one host
        input_data_config: dict[str, Any],  # inputdataconfig.json without the channel that brought us
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
    channels = read_json(layout.input_data_config)
    channels.pop(CHANNEL, None)
    devices = device_names()
    return Resources(
        resource_config={**ALONE, **read_json(layout.resource_config)},
        input_data_config=channels,
        num_cpus=os.cpu_count() or 1,
        num_gpus=sum(1 for name in devices if _GPU.fullmatch(name)),
        num_neurons=sum(1 for name in devices if _NEURON.fullmatch(name)),
    )


def read_json(path: str) -> dict[str, Any]:
    """Return the object in a file of `input/config`; {} when the file is missing, as it may be outside SageMaker.

    Raises JobFailure when there is something else in it.
    """
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        raise JobFailure(f"{path}: cannot be read as JSON: {err}") from err
    if not isinstance(document, dict):
        raise JobFailure(f"{path}: expected a JSON object, found {type(document).__name__}")
    return document


@functools.lru_cache(maxsize=None)
def device_names() -> list[str]:
    """Return the names in /dev as they were at the first call; a slow look, and no job's devices change."""
    try:
        return os.listdir("/dev")
    except OSError:
        return []
