"""Build the environment of a trial's script, and write its params as files: W&B's param file (YAML), and JSON."""

from __future__ import annotations

import json
import os

from smsweep.runtime.job.sm_variables import platform_variables, sm_variables
from smsweep.runtime.script.records import WANDB_AGENT
from smsweep.runtime.wandb.config_yaml import param_document

MAX_VARIABLE_BYTES = 128 * 1024  # Linux: MAX_ARG_STRLEN, for one variable or argument
WANDB_URL = "https://api.wandb.ai"  # default of WANDB_BASE_URL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from smsweep.runtime.job.sm_variables import Resources
    from smsweep.runtime.job.trial_document import Assignment
    from smsweep.runtime.opt_ml_layout import Layout


class ParamFiles:
    """Paths of the files, which have the names that W&B's agent gives them."""

    def __init__(self, folder: str, name: str) -> None:
        self.yaml = os.path.join(folder, f"{name}.yaml")
        self.json = os.path.join(folder, f"{name}.json")


def write_param_files(layout: Layout, assignment: Assignment) -> ParamFiles:
    """Write both files and return their paths."""
    if assignment.sweep_id:
        files = ParamFiles(
            os.path.join(layout.params, "wandb", f"sweep-{assignment.sweep_id}"), f"config-{assignment.run_id}"
        )
    else:
        files = ParamFiles(layout.params, "config")
    os.makedirs(os.path.dirname(files.json), exist_ok=True)
    with open(files.json, "w", encoding="utf-8") as file:
        file.write(json.dumps(assignment.params))  # json.dump is slower: it encodes in Python
    with open(files.yaml, "w", encoding="utf-8") as file:
        file.write(param_document(assignment.params))
    return files


def script_environment(
    layout: Layout,
    assignment: Assignment,
    resources: Resources,
    files: ParamFiles,
    base: Mapping[str, str],
    source: str = "",
) -> dict[str, str]:
    """Return the job's own environment with the trial's variables added.

    Variables that identify the trial replace those of `base`: a W&B run id or sweep id from an agent's environment
    would put every trial into one run. Variables that a user may set (project, mode, folders) keep their value.

    Args:
        layout: Paths of the job.
        assignment: The trial.
        resources: Hosts, channels and devices of the job.
        files: The files with the trial's params.
        base: The job's own environment.
        source: Folder of the script; "" for none.
    """
    env = dict(base)
    for name in ("WANDB_SERVICE", "SMSWEEP_COUNTING_PID"):  # they belong to the parent process, not to the script
        env.pop(name, None)
    variables = sm_variables(layout, assignment, resources, base.get("TRAINING_JOB_NAME", ""))
    env.update({name: value for name, value in variables.items() if _is_possible(name, value)})
    env.update(platform_variables(assignment, resources, base))
    env["SMSWEEP_ML_ROOT"] = layout.root
    env["SMSWEEP_PARAMS_FILE"] = files.json
    # The runtime is on the path so that `import smsweep` needs no installation. The source is on the path, as in
    # AWS's toolkit, so that a script in one folder finds modules in another.
    runtime = layout.runtime_zip if os.path.exists(layout.runtime_zip) else ""
    folders = [_listable(path, source) for path in (runtime, source) if path]
    if folders:
        env["PYTHONPATH"] = os.pathsep.join([*folders, *filter(None, [base.get("PYTHONPATH")])])
    defaults = {"PYTHONUNBUFFERED": "1", "WANDB_SAGEMAKER_DISABLE": "true", "WANDB_DIR": layout.output_data}
    if assignment.sweep_id:
        env.update(
            SMSWEEP_SWEEP_ID=assignment.sweep_id,
            SMSWEEP_TRIAL=str(assignment.number),
            SMSWEEP_ATTEMPT=str(assignment.attempt),
            SMSWEEP_NAME=assignment.name,
        )
        for name in ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH", "SMSWEEP_RESUME_STEP"):
            env.pop(name, None)
        if WANDB_AGENT not in (assignment.command or ()):  # W&B's agent names its run itself
            env.update(run_variables(assignment, files, {**defaults, **env}))
    for name, value in defaults.items():
        if value and not env.get(name):
            env[name] = value
    return env


def run_variables(assignment: Assignment, files: ParamFiles, base: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make `wandb.init()` start the trial's run. Variables in `base` are not changed."""
    # Not WANDB_SWEEP_ID: W&B's server does not know smsweep's sweeps, and fails when it looks this id up, for an
    # offline run at its upload. The run gets the params without it, and its group joins the trials.
    defaults = {
        "WANDB_RUN_GROUP": assignment.sweep_id,
        "WANDB_RESUME": "allow",  # a retry continues the same run
        "WANDB_PROJECT": assignment.project,
        "WANDB_ENTITY": assignment.entity,
        "WANDB_NAME": assignment.name,
        "WANDB_MODE": "" if _reaches_wandb(base) else "offline",
    }
    named = {name: value for name, value in defaults.items() if value and not base.get(name)}
    if assignment.resume_step:
        named["SMSWEEP_RESUME_STEP"] = str(assignment.resume_step)
    return {**named, "WANDB_RUN_ID": assignment.run_id, "WANDB_SWEEP_PARAM_PATH": files.yaml}


def _listable(path: str, cwd: str) -> str:
    """Return a path for PYTHONPATH. A path with a colon becomes relative to the script's working directory."""
    return os.path.relpath(path, cwd or os.curdir) if os.pathsep in path else path


def _is_possible(name: str, value: str) -> bool:
    """Return True if the system accepts the variable: one unusual param must not prevent the script's start."""
    return (
        "=" not in name and "\0" not in name + value and len(os.fsencode(f"{name}={value}")) < MAX_VARIABLE_BYTES
    )


def _reaches_wandb(env: Mapping[str, str]) -> bool:
    """Return True if `wandb.init()` can use a server: WANDB_MODE is set, or there is a key."""
    if env.get("WANDB_MODE") or env.get("WANDB_API_KEY") or env.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = (env.get("WANDB_BASE_URL") or WANDB_URL).split("://")[-1].split("/")[0].split(":")[0]
    try:
        with open(env.get("NETRC") or os.path.join(env.get("HOME", ""), ".netrc"), encoding="utf-8") as file:
            return host in file.read().split()
    except (OSError, ValueError):
        return False
