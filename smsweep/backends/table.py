"""The backends that `--backend` names, loaded when one is chosen."""

from __future__ import annotations

from smsweep.tables import LazyTable

# Each is called with (folder for jobs, the runtime's zip, environment, clock).
BACKENDS = LazyTable(
    {
        "process": "smsweep.backends.process:ProcessBackend",
        "docker": "smsweep.backends.docker.backend:DockerBackend",
    }
)
