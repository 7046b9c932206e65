"""The environment a trial's script starts with."""

from __future__ import annotations

import os

from smsweep.runtime.job.sm_variables import sm_variables
from smsweep.runtime.script.run_identity import WANDB_AGENT

MAX_VARIABLE_BYTES = 128 * 1024  # Linux: MAX_ARG_STRLEN, of one variable or argument
WANDB_URL = "https://api.wandb.ai"  # unless WANDB_BASE_URL says otherwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from smsweep.runtime.job.param_files import ParamFiles
    from smsweep.runtime.job.resources import Resources
    from smsweep.runtime.job.trial_document import Assignment
    from smsweep.runtime.opt_ml_layout import Layout


def script_environment(
    layout: Layout,
    assignment: Assignment,
    resources: Resources,
    files: ParamFiles,
    base: Mapping[str, str],
    source: str = "",
) -> dict[str, str]:
    """Lay the trial over the job's own environment.

    What names the trial is ours, whatever base says: a W&B run id or sweep id that leaked in from an agent would
    put every trial into one run. What a user may well have chosen (project, mode, folders) stays as base has it.

    source: the folder that the script belongs to; "" for none.
    """
    env = dict(base)
    for name in ("WANDB_SERVICE", "SMSWEEP_COUNTING_PID"):  # of the process that started us, not of the script
        env.pop(name, None)
    variables = sm_variables(layout, assignment, resources, base.get("TRAINING_JOB_NAME", ""))
    env.update({name: value for name, value in variables.items() if _is_possible(name, value)})
    env["SMSWEEP_ML_ROOT"] = layout.root
    env["SMSWEEP_PARAMS_FILE"] = files.json
    # The runtime, so that `import smsweep` needs no installation; the source, as AWS's toolkit has it, so that a
    # script in one of its folders finds what lies in another.
    runtime = layout.runtime_zip if os.path.exists(layout.runtime_zip) else ""
    found = [_listable(path, source) for path in (runtime, source) if path]
    if found:
        env["PYTHONPATH"] = os.pathsep.join([*found, *filter(None, [base.get("PYTHONPATH")])])
    chosen = {"PYTHONUNBUFFERED": "1", "WANDB_SAGEMAKER_DISABLE": "true", "WANDB_DIR": layout.output_data}
    if assignment.sweep_id:
        env.update(
            SMSWEEP_SWEEP_ID=assignment.sweep_id,
            SMSWEEP_TRIAL=str(assignment.number),
            SMSWEEP_ATTEMPT=str(assignment.attempt),
            SMSWEEP_NAME=assignment.name,
        )
        for name in ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH"):
            env.pop(name, None)
        if WANDB_AGENT not in (assignment.command or ()):  # it names its run itself
            env.update(run_variables(assignment, files, {**chosen, **env}))
    for name, value in chosen.items():
        if value and not env.get(name):
            env[name] = value
    return env


def run_variables(assignment: Assignment, files: ParamFiles, base: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make the run of a `wandb.init()` the trial's; what base chose stays as it is."""
    # Not WANDB_SWEEP_ID: W&B's server looks a run's sweep up among its own, for an offline run at its upload, and
    # has never heard of ours. The run gets the params without it, and its group keeps the trials together.
    chosen = {
        "WANDB_RUN_GROUP": assignment.sweep_id,
        "WANDB_RESUME": "allow",  # a retry goes on with the same run
        "WANDB_PROJECT": assignment.project,
        "WANDB_ENTITY": assignment.entity,
        "WANDB_NAME": assignment.name,
        "WANDB_MODE": "" if _reaches_wandb(base) else "offline",
    }
    named = {name: value for name, value in chosen.items() if value and not base.get(name)}
    return {**named, "WANDB_RUN_ID": assignment.run_id, "WANDB_SWEEP_PARAM_PATH": files.yaml}


def _listable(path: str, cwd: str) -> str:
    """Return a path as a list of paths can hold it: one with a colon from where the script starts."""
    return os.path.relpath(path, cwd or os.curdir) if os.pathsep in path else path


def _is_possible(name: str, value: str) -> bool:
    """Tell whether the system takes the variable at all: one odd param must not keep the script from starting."""
    return (
        "=" not in name and "\0" not in name + value and len(os.fsencode(f"{name}={value}")) < MAX_VARIABLE_BYTES
    )


def _reaches_wandb(env: Mapping[str, str]) -> bool:
    """Tell whether `wandb.init()` may talk to a server: it was told how to, or has a key to do it with."""
    if env.get("WANDB_MODE") or env.get("WANDB_API_KEY") or env.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = (env.get("WANDB_BASE_URL") or WANDB_URL).split("://")[-1].split("/")[0].split(":")[0]
    try:
        with open(env.get("NETRC") or os.path.join(env.get("HOME", ""), ".netrc"), encoding="utf-8") as file:
            return host in file.read().split()
    except (OSError, ValueError):
        return False
