"""A sweep as a SLURM job array."""

from __future__ import annotations

from collections.abc import Sequence

from smsweep.remote.slurm import batch_script
from smsweep.remote.slurm import submit as submit
from smsweep.services.backends import backend_name
from smsweep.services.labels import parse_sweep_id
from smsweep.services.workspace import Workspace


def script(
    sweep_id: str,
    tasks: int,
    *,
    at_once: int | None = None,
    options: Sequence[str] = (),
    backend: str | None = None,
) -> str:
    """Return the batch script of an array whose tasks run one trial each. Raises UsageError, NotFound.

    `SMSWEEP_STORE` is not in it, for it may hold a password: sbatch hands on the environment that it is called in.
    """
    workspace = Workspace()
    with workspace.store() as store:
        sweep = store.get_sweep(parse_sweep_id(sweep_id))
    return batch_script(
        sweep.id,
        tasks,
        at_once=at_once,
        options=options,
        environment={"SMSWEEP_DIR": str(workspace.dir)},
        arguments=["--backend", backend_name(backend, workspace)] if backend else [],
    )
