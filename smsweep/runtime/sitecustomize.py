"""Lies at the top of runtime.zip, where each Python process of a trial imports it when it starts."""

import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder

_FOLLOWED = {  # library -> what follows its metrics
    "wandb": "smsweep.runtime.wandb.init_hook",
    "tensorboardX": "smsweep.runtime.wandb.other_loggers",
    "torch.utils.tensorboard": "smsweep.runtime.wandb.other_loggers",
    "mlflow": "smsweep.runtime.wandb.other_loggers",
}


class _Watch:
    """Finds nothing; but when the script imports such a library, what follows its metrics is there first."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        # Only then: loading it takes as long as a third of Python's own start.
        hook = _FOLLOWED.pop(name, None)
        if hook is not None:
            import_module(hook).install()


if "SMSWEEP_PARAMS_FILE" in os.environ:
    sys.meta_path.insert(0, _Watch())

# `pip install -e .` and PYTHONPATH may name folders below the one that the agent was started in: their copies in
# the source go first, so that no trial imports what is edited meanwhile.
_here, _source = os.environ.get("SMSWEEP_STARTED_IN", ""), os.environ.get("SM_MODULE_DIR", "")
for _folder in [*sys.path] if _here and _source else []:
    _copy = _source + _folder[len(_here) :]
    if _folder.startswith(_here + os.sep) and os.path.isdir(_copy):
        sys.path.insert(sys.path.index(_folder), _copy)

# Python runs only the first sitecustomize on its path; an image may have one of its own.
_own = os.path.dirname(__file__)
_next = PathFinder.find_spec("sitecustomize", [folder for folder in sys.path if folder != _own])
if _next is not None and _next.loader is not None:
    _next.loader.exec_module(sys.modules[__name__])
