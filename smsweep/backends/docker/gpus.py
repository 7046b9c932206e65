"""Which GPU a container gets: one each, the least used first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

DEVICE = re.compile(r"nvidia(\d+)")


def host_gpus(dev: Path = Path("/dev")) -> list[str]:
    """Return the numbers of this machine's NVIDIA devices, ascending."""
    found = (DEVICE.fullmatch(path.name) for path in dev.iterdir())
    return sorted((match[1] for match in found if match), key=int)


def choose_gpu(gpus: Iterable[str], labels: Iterable[Mapping[str, str]], label: str) -> str:
    """Return the device that fewest of the running containers have; "" when there is none at all.

    labels: those of each running container.
    """
    used = Counter(of_one[label] for of_one in labels if label in of_one)
    return min(gpus, key=lambda gpu: (used[gpu], int(gpu)), default="")
