"""`wandb.init()` in a function that the agent calls starts the trial's run, as with `wandb.agent`.

W&B reads the name and the params of a run from the process's environment variables, and has one active run. So
this works for one trial at a time. The variables are restored when the trial ends.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smsweep.runtime.job.param_files import write_param_files
from smsweep.runtime.job.script_environment import run_variables
from smsweep.runtime.job.trial_document import Assignment
from smsweep.runtime.opt_ml_layout import Layout
from smsweep.runtime.wandb import init_hook

LEAKED = ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH")  # a surrounding W&B agent may have set them
_installed: list[bool] = []
_bound: list[str] = []  # the job of W&B's active run


@contextmanager
def wandb_run(assignment: Assignment, job: str, folder: Path, *, is_alone: bool) -> Iterator[Callable[[], None]]:
    """Yield a function that binds W&B's next run to the trial. At the end, finish that run.

    Args:
        assignment: The trial's params and identity.
        job: The name of the trial's job.
        folder: The folder of the job's files. It is created if needed.
        is_alone: No other trial can run at the same time.
    """
    _install()
    before: dict[str, str | None] = {}

    def bind() -> None:
        if _bound or not is_alone:
            raise RuntimeError(
                "wandb.init() in a function works for one trial at a time, because W&B has one run per process; "
                "use parallel=1, smsweep.init(), or a script"
            )
        _bound.append(job)
        variables = _variables(assignment, Layout(str(folder)), os.environ)
        before.update({name: os.environ.get(name) for name in {*variables, *LEAKED}})
        _set({**dict.fromkeys(LEAKED), **variables})
        sys.modules["wandb"].teardown()  # wandb reads the variables again; W&B's agent does the same

    has_failed = True
    try:
        yield bind
        has_failed = False
    except SystemExit as err:
        has_failed = err.code not in (None, 0)
        raise
    finally:
        if job in _bound:
            try:
                _end(has_failed)
            finally:
                _set(before)
                _bound.remove(job)


def _install() -> None:
    if not _installed:
        _installed.append(True)
        init_hook.install()


def _variables(assignment: Assignment, layout: Layout, base: Mapping[str, str]) -> dict[str, str]:
    files = write_param_files(layout, assignment)
    kept = {name: value for name, value in base.items() if name not in LEAKED}
    found = run_variables(assignment, files, kept)
    if not base.get("WANDB_DIR"):
        Path(layout.output_data).mkdir(parents=True, exist_ok=True)
        found["WANDB_DIR"] = layout.output_data
    return found


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _end(has_failed: bool) -> None:
    wandb: Any = sys.modules["wandb"]
    if wandb.run is not None:
        wandb.finish(exit_code=int(has_failed))
    wandb.teardown()  # the next run of this process belongs to no trial
