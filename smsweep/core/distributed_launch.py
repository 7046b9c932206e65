"""Commands for distributed training: torchrun and mpirun, as an estimator or a job.yaml requests them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from smsweep.core.job import instance_count
from smsweep.runtime.job.sm_variables import NODE_RANK

FIRST_HOST = "algo-1"
PORT = 7777  # the port of AWS's toolkit
BY_TORCHRUN = ("torch_distributed", "pytorchddp")  # keys of `distribution` in SDK 2.x
TOOLKIT_ONLY = (
    "is a launch that only AWS's toolkit in the image can do (ssh between the hosts, libraries of its own), and "
    "in a sweep smsweep starts the script; use torch_distributed (SDK 3.x: Torchrun), or a launcher as the "
    "sweep's command"
)


def launch(distribution: Mapping[str, Any], resources: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the command for a `distribution` of SDK 2.x.

    Args:
        distribution: As an estimator of SDK 2.x accepts it.
        resources: The ResourceConfig of the request.

    Returns:
        The command with W&B's macros; () if no distribution is enabled.

    Raises:
        ValueError: If no command can do this launch. The message says why.
    """
    names = list(_switched_on(distribution))
    if not names:
        return ()
    if len(names) > 1:
        raise ValueError(f"{' and '.join(names)} cannot both start the script; keep one")
    if names[0] in BY_TORCHRUN:
        return torchrun(resources)
    if names[0] != "mpi":
        raise ValueError(f"{names[0]} {TOOLKIT_ONLY}")
    options = distribution["mpi"]
    own = shlex.split(options.get("custom_mpi_options") or "")
    return mpirun(resources, options.get("processes_per_host"), own)


def torchrun(resources: Mapping[str, Any], per_host: int | None = None) -> tuple[str, ...]:
    """Return the torchrun command that starts the program on every host of a job.

    Args:
        resources: The ResourceConfig of the request.
        per_host: Processes on each host; None for one per GPU, or one per CPU without a GPU.

    Returns:
        The command with W&B's macros.

    Raises:
        ValueError: If the number of hosts is not fixed.
    """
    n_hosts = _n_hosts(resources)
    # Not --rdzv_backend=c10d: it needs a different hostname on each host, but SageMaker's hosts can share one.
    meet = (
        f"--nnodes={n_hosts}",
        f"--node_rank=${{envvar:{NODE_RANK}}}",
        f"--master_addr={FIRST_HOST}",
        f"--master_port={PORT}",
    )
    place = ("--standalone",) if n_hosts == 1 else meet
    return ("torchrun", *place, f"--nproc_per_node={per_host or 'auto'}", "${program}", "${args}")


def mpirun(resources: Mapping[str, Any], per_host: int | None, options: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the mpirun command that starts the program several times on one host, as AWS's toolkit does.

    Args:
        resources: The ResourceConfig of the request.
        per_host: Number of processes.
        options: Further options of mpirun.

    Returns:
        The command with W&B's macros.

    Raises:
        ValueError: If the job has several hosts, which needs AWS's toolkit, or `per_host` is not set.
    """
    if _n_hosts(resources) > 1:
        raise ValueError(f"mpi on several instances {TOOLKIT_ONLY}")
    if not per_host:
        raise ValueError("mpi needs the number of processes: processes_per_host (SDK 3.x: process_count_per_node)")
    where = ("--host", f"localhost:{per_host}", "-np", str(per_host), "-bind-to", "none", "-map-by", "slot")
    # python3, as in the entrypoint, because the image may not have W&B's ${interpreter}.
    program = ("python3", "-m", "mpi4py", "${program}", "${args}")
    return ("mpirun", "--allow-run-as-root", *where, *options, *program)


def _n_hosts(resources: Mapping[str, Any]) -> int:
    counts = {item.get("InstanceCount", 1) for item in resources.get("InstancePreferences", ())}
    if len(counts) > 1:
        raise ValueError(
            "a launch needs to know how many instances there are: give all preferences the same number"
        )
    return instance_count(resources)


def _switched_on(distribution: Mapping[str, Any]) -> Iterator[str]:
    return (name for name, options in distribution.items() if _is_on(options))


def _is_on(options: Any) -> bool:
    if not isinstance(options, Mapping):
        return bool(options)
    return bool(options.get("enabled")) or any(_is_on(item) for item in options.values() if isinstance(item, dict))
