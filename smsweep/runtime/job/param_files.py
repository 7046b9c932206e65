"""Write the trial's params as files: W&B's sweep param file (YAML), and the same as JSON."""

from __future__ import annotations

import json
import os

from smsweep.runtime.wandb.config_yaml import param_document

TYPE_CHECKING = False
if TYPE_CHECKING:
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
        json.dump(assignment.params, file)
    with open(files.yaml, "w", encoding="utf-8") as file:
        file.write(param_document(assignment.params))
    return files
