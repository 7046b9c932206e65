"""The backends that `--backend` names, loaded when one is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from smsweep.backends.base import Backend
from smsweep.tables import LazyTable

# Called with the folder for jobs, the runtime's zip, the environment, and a clock in seconds since the epoch.
MakeBackend = Callable[[Path, Path, Mapping[str, str], Callable[[], float]], Backend]

BACKENDS: Mapping[str, MakeBackend] = LazyTable(
    {
        "process": "smsweep.backends.process:ProcessBackend",
        "docker": "smsweep.backends.docker.backend:DockerBackend",
    }
)
