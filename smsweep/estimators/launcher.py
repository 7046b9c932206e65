"""The distributed launch that an object of the SDK asks for, in the words of a sweep's command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIRST_HOST = "algo-1"
PORT = 29_400  # torchrun's own
BY_TORCHRUN = ("torch_distributed", "pytorchddp")  # keys of SDK 2.x's `distribution`
TOOLKIT_ONLY = (
    "is a launch that only AWS's toolkit in the image can do (MPI over ssh, libraries of its own), and in a sweep "
    "smsweep starts the script; use torch_distributed (SDK 3.x: Torchrun), or a launcher as the sweep's command"
)


def torchrun(resources: Mapping[str, Any], per_host: int | None = None) -> tuple[str, ...]:
    """Return the command that starts the program on every host of a job.

    resources: the request's ResourceConfig. per_host: processes; None for one a GPU, without any one a CPU.
    """
    groups = resources.get("InstanceGroups", ())
    n_hosts = resources.get("InstanceCount") or sum(group["InstanceCount"] for group in groups) or 1
    meet = (f"--nnodes={n_hosts}", "--rdzv_backend=c10d", f"--rdzv_endpoint={FIRST_HOST}:{PORT}", "--rdzv_id=job")
    place = ("--standalone",) if n_hosts == 1 else meet
    return ("torchrun", *place, f"--nproc_per_node={per_host or 'auto'}", "${program}", "${args}")


def chosen(distribution: Mapping[str, Any]) -> list[str]:
    """Return the launches that SDK 2.x's `distribution` switches on."""
    return [name for name, options in distribution.items() if _is_on(options)]


def _is_on(options: Any) -> bool:
    if not isinstance(options, Mapping):
        return bool(options)
    return bool(options.get("enabled")) or any(_is_on(item) for item in options.values() if isinstance(item, dict))
