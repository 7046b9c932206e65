"""The backends that `--backend` names: the built-in ones and plug-ins."""

from __future__ import annotations

from smsweep.backends.base import Backend, BackendContext, BackendSpec
from smsweep.util.plugins import LazyTable, PluginRegistry

# Each module has a `SPEC`. It is imported on first use, because boto3 and the Docker SDK are slow to import.
BUILT_IN: LazyTable[BackendSpec] = LazyTable(
    {
        "process": "smsweep.backends.process.backend:SPEC",
        "docker": "smsweep.backends.docker.backend:SPEC",
        "slurm": "smsweep.backends.slurm.backend:SPEC",
        "sagemaker": "smsweep.backends.sagemaker.backend:SPEC",
        "batch": "smsweep.backends.aws_batch.backend:SPEC",
    }
)
LOCAL = ("process", "docker")  # built-in backends with `is_local`
FREE = (*LOCAL, "slurm")  # built-in backends whose jobs do not run in a cloud account
BACKENDS = PluginRegistry("smsweep.backends", BackendSpec, BUILT_IN, reserved=("function", "inline"))


def backend_names() -> tuple[str, ...]:
    """Return the names of all backends, without importing them."""
    return tuple(BACKENDS)


def backend_spec(name: str) -> BackendSpec:
    """Return the description of a backend, and import its module if necessary.

    Raises:
        KeyError: No backend has this name. `services.backends.backend_name` raises UsageError first.
        UsageError: The plug-in that provides the backend is broken.
    """
    return BACKENDS[name]


def is_local(name: str) -> bool:
    """Return True if the jobs of a backend run on this machine. Import no built-in backend."""
    return name in LOCAL if name in BUILT_IN else backend_spec(name).is_local


def open_client(name: str, context: BackendContext) -> Backend:
    """Open a client of a backend.

    Raises:
        UsageError: The settings are not valid, or the plug-in that provides the backend is broken.
    """
    with BACKENDS.guard(name, "open"):
        return backend_spec(name).open(context)
