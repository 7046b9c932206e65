"""Read the trial of this job from hyperparameters.json."""

from __future__ import annotations

import json

from smsweep.runtime.job.failure import JobFailure
from smsweep.runtime.script.records import run_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

KEY = "smsweep"  # the hyperparameter; smsweep.1, smsweep.2, ... continue it if one value is too short
VERSION = 1  # of the document in it


class Assignment:
    """The trial of a job. For a job outside a sweep: its hyperparameters."""

    def __init__(
        self,
        *,
        params: Mapping[str, Any],  # nested, typed
        program: str | None = None,  # the script, relative to the source folder
        command: list[str] | None = None,  # W&B's `command` with macros; None or empty for W&B's default
        sweep_id: str = "",  # "" outside a sweep
        number: int = 0,  # of the trial, starting at 0
        attempt: int = 0,  # starting at 0
        resume_step: int = 0,  # after the points of earlier attempts; 0 for none
        project: str = "",  # of W&B; "" for none
        entity: str = "",
        name: str = "",  # of the run in W&B
        platform: Mapping[str, Any] | None = None,  # `sagemaker_*` hyperparameters, decoded
    ) -> None:
        self.params = params
        self.program = program
        self.command = command
        self.sweep_id = sweep_id
        self.number = number
        self.attempt = attempt
        self.resume_step = resume_step
        self.project = project
        self.entity = entity
        self.name = name
        self.platform: Mapping[str, Any] = platform or {}

    @property
    def run_id(self) -> str:
        return run_id(self.sweep_id, self.number)


def read_assignment(hyperparameters: Mapping[str, str], environ: Mapping[str, str] | None = None) -> Assignment:
    """Return the trial in the hyperparameters; without one, all hyperparameters as params, as AWS's toolkit does.

    Args:
        hyperparameters: The content of hyperparameters.json.
        environ: The job's environment. As with the toolkit, its SAGEMAKER_PROGRAM replaces `sagemaker_program`.

    Raises:
        JobFailure: If the `smsweep` value is not valid.
    """
    platform = {key: _decoded(value) for key, value in hyperparameters.items() if _is_platform(key)}
    if KEY not in hyperparameters:
        params = {key: _decoded(value) for key, value in hyperparameters.items() if not _is_platform(key)}
        program = (environ or {}).get("SAGEMAKER_PROGRAM") or platform.get("sagemaker_program")
        return Assignment(params=params, program=None if program is None else str(program), platform=platform)
    text = _joined(hyperparameters)
    try:
        document = json.loads(text)
        version = document["version"]
        if version != VERSION:
            raise JobFailure(
                f"hyperparameter {KEY}: format {version}, but this runtime reads format {VERSION}; "
                "use the same version of smsweep for the sweep and its jobs"
            )
        return Assignment(
            params=document["params"],
            program=document.get("program"),
            command=document.get("command"),
            sweep_id=document["sweep_id"],
            number=document["number"],
            attempt=document.get("attempt", 0),
            resume_step=document.get("resume_step", 0),
            project=document.get("project") or "",
            entity=document.get("entity") or "",
            name=document.get("name") or "",
            platform=platform,
        )
    except (ValueError, KeyError, TypeError) as err:
        raise JobFailure(
            f"hyperparameter {KEY}: not a valid trial ({type(err).__name__}: {err}): {text[:200]}"
        ) from err


def _joined(hyperparameters: Mapping[str, str]) -> str:
    parts = [hyperparameters[KEY]]
    while f"{KEY}.{len(parts)}" in hyperparameters:
        parts.append(hyperparameters[f"{KEY}.{len(parts)}"])
    return "".join(parts)


def _is_platform(key: str) -> bool:
    return key.startswith("sagemaker_") or key in ("_tuning_objective_metric", "default_user_module_name")


def _decoded(value: Any) -> Any:
    try:
        return json.loads(value)
    except (ValueError, TypeError):
        return value
