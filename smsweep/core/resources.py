"""The resources of this machine that one trial needs: GPUs, CPUs and memory."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from smsweep.errors import JobRejected

# Carries the resources in the request of a job on this machine. CreateTrainingJob has no field for them.
VARIABLE = "SMSWEEP_RESOURCES"
GIB = 1 << 30
# GPUs of a container that asks for none: it shares a device with others, but not with a trial that has it alone.
ANY_SHARE = 1e-6
_UNITS = {None: GIB, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": GIB, "t": 1 << 40}
_SIZE = re.compile(r"(?P<number>\d+(\.\d*)?|\.\d+)\s*(?P<unit>b|[kmgt](?=(i?b)?$|i$))?(?(unit)(i?b|i)?)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What one trial needs of this machine. None means that the trial does not ask for the resource.

    Attributes:
        gpus: A whole number of devices for this trial alone, or a fraction below 1 of a device that trials share.
        cpus: CPU cores for this trial alone.
        memory_bytes: Memory in bytes.
    """

    gpus: float | None = None
    cpus: int | None = None
    memory_bytes: int | None = None

    @property
    def is_empty(self) -> bool:
        """True if the trial asks for nothing."""
        return self == Resources()

    @property
    def n_devices(self) -> int:
        """The number of devices that the trial sees. A fraction is one device."""
        return math.ceil(self.gpus or 0)

    def times(self, n_hosts: int) -> Resources:
        """Return the resources of a job with several hosts, each with a whole set of them."""
        return self if n_hosts == 1 else Resources(**{k: v * n_hosts for k, v in asdict(self).items() if v})

    def __str__(self) -> str:
        parts = []
        if self.gpus == ANY_SHARE:
            parts.append("a GPU to share")
        elif self.gpus is not None:
            parts.append(f"{self.gpus:g} GPU{'' if self.gpus == 1 else 's'}")
        if self.cpus is not None:
            parts.append(f"{self.cpus} CPU{'' if self.cpus == 1 else 's'}")
        if self.memory_bytes is not None:
            parts.append(format_memory(self.memory_bytes))
        return ", ".join(parts) or "nothing"


def with_resources(request: Mapping[str, Any], resources: Resources) -> Mapping[str, Any]:
    """Return a request that carries the resources. Without resources, it is unchanged."""
    if resources.is_empty:
        return request
    text = json.dumps({name: value for name, value in asdict(resources).items() if value is not None})
    return {**request, "Environment": {**request.get("Environment", {}), VARIABLE: text}}


def resources_of(request: Mapping[str, Any]) -> Resources:
    """Return the resources that a request carries.

    Raises:
        JobRejected: If the variable was not written by smsweep.
    """
    text = request.get("Environment", {}).get(VARIABLE)
    if text is None:
        return Resources()
    try:
        values = json.loads(text)
        gpus, cpus, memory = (values.get(name) for name in ("gpus", "cpus", "memory_bytes"))
        resources = Resources(gpus=gpus, cpus=cpus, memory_bytes=memory)
        if is_share(0 if gpus is None else gpus) and all(
            isinstance(n, int) and n > 0 for n in (cpus, memory) if n
        ):
            return resources
    except (AttributeError, TypeError, ValueError):
        pass
    raise JobRejected(
        f"environment.{VARIABLE}: {text!r} is not valid; remove it, and use resources_per_trial in job.yaml"
    )


def is_share(gpus: object) -> bool:
    """Return True for a valid number of GPUs: 0, a fraction below 1, or a whole number."""
    if isinstance(gpus, bool) or not isinstance(gpus, (int, float)):
        return False
    return 0 <= gpus < math.inf and (gpus < 1 or gpus == int(gpus))


def parse_memory(value: object) -> int | None:
    """Return a size in bytes, or None if it is not valid.

    Args:
        value: GiB as a number, or text with a unit of Docker or Kubernetes, such as `16g`, `512m` or `16Gi`.
    """
    factor = float(GIB)
    if isinstance(value, str):
        size = _SIZE.fullmatch(value.strip().lower())
        if size is None:
            return None
        factor = float(_UNITS[size["unit"]])
        value = float(size["number"])
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    n_bytes = float(value) * factor
    return int(n_bytes) if 1 <= n_bytes < math.inf else None


def format_memory(n_bytes: int) -> str:
    """Return a size for messages, in GiB."""
    return f"{round(n_bytes / GIB, 1):g} GiB memory"
