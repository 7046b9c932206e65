"""Imported by each Python process of a trial when it starts, because it is at the top of runtime.zip."""

import os
import sys
from _frozen_importlib_external import PathFinder  # as importlib.machinery, but does not import importlib

_HOOKS = {  # library -> module that follows its metrics
    "wandb": "smsweep.runtime.wandb.init_hook",
    "tensorboardX": "smsweep.runtime.wandb.other_loggers",
    "torch.utils.tensorboard": "smsweep.runtime.wandb.other_loggers",
    "mlflow": "smsweep.runtime.wandb.other_loggers",
}


class _Watch:
    """Finds no module. Installs the hook for a library before the script imports that library."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        # Loaded only then, because loading takes a third of the time of Python's own start.
        hook = _HOOKS.pop(name, None)
        if hook is not None:
            __import__(hook)
            sys.modules[hook].install()


if "SMSWEEP_PARAMS_FILE" in os.environ:
    sys.meta_path.insert(0, _Watch())

# `pip install -e .` and PYTHONPATH may name folders below the folder in which the agent was started. Their copies
# in the source come first, so that no trial imports files that the user edits meanwhile.
_started_in, _source = os.environ.get("SMSWEEP_STARTED_IN", ""), os.environ.get("SM_MODULE_DIR", "")
for _folder in [*sys.path] if _started_in and _source else []:
    _copy = _source + _folder[len(_started_in) :]
    if _folder.startswith(_started_in + os.sep) and os.path.isdir(_copy):
        sys.path.insert(sys.path.index(_folder), _copy)

# Python runs only the first sitecustomize on its path; an image may have one of its own. Only later folders are
# searched, because a job that a job starts has two runtimes on its path, and each would run the other's.
_own = os.path.dirname(__file__)
_later = sys.path[sys.path.index(_own) + 1 :] if _own in sys.path else []
_next = PathFinder.find_spec("sitecustomize", _later)
_get_code = getattr(_next and _next.loader, "get_code", None)
if _next is not None and _get_code is not None:
    __file__ = _next.origin or __file__
    # The loader of a zip file has no exec_module before Python 3.10.
    exec(_get_code(__name__), globals())  # noqa: S102 - Python would run this module itself # nosec B102
