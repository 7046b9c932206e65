"""`wandb.init()` in a function that the agent calls, as in one that `wandb.agent` calls: its run is the trial's.

W&B reads what a run is to be called, and its params, once, from the variables of the process, and has one active
run. So this holds for one trial at a time, and what was changed for it is changed back at its end.
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

LEAKED = ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH")  # of an agent around this one
_installed: list[bool] = []
_bound: list[str] = []  # the job whose run W&B's is now


@contextmanager
def wandb_run(assignment: Assignment, job: str, folder: Path, *, is_alone: bool) -> Iterator[Callable[[], None]]:
    """Yield what makes W&B's next run the trial's; at the end that run is finished, failed if the function was.

    job: the trial's. folder: of its files, made if need be; W&B's are where other jobs have them. is_alone: no
    other trial runs beside it.
    """
    _install()
    before: dict[str, str | None] = {}

    def bind() -> None:
        if _bound or not is_alone:
            raise RuntimeError(
                "wandb.init() in a function is for one trial at a time, as W&B has one run in a process; "
                "use parallel=1, or smsweep.init(), or a script instead of a function"
            )
        _bound.append(job)
        variables = _variables(assignment, Layout(str(folder)), os.environ)
        before.update({name: os.environ.get(name) for name in {*variables, *LEAKED}})
        _set({**dict.fromkeys(LEAKED), **variables})
        sys.modules["wandb"].teardown()  # it has read the variables; so does W&B's own agent

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
    wandb.teardown()  # the next run of this process is nobody's trial
