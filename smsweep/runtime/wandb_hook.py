"""Metrics that a script reports to W&B reach the sweep, too, while the script runs and without changing it.

W&B's own files cannot be read for this: they are buffered until the run ends, and a stopped run loses them. So its
`Run.log` and summary are wrapped as soon as the script imports wandb. Works from wandb 0.13 to 0.31. Does not see
what bypasses `Run.log` (tensorboard sync) and scripts started with `python -I`, `-E` or `-S`.
"""

from __future__ import annotations

import functools
import sys
from importlib import import_module
from importlib.machinery import PathFinder

from smsweep.runtime.talk import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any


def install() -> None:
    """Watch the imports of this process; nothing of wandb or of the rest of the runtime is imported yet."""
    sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds the modules to wrap where Python would, and wraps them once they are loaded."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        wrap = _WRAPPERS.get(name)
        spec = PathFinder.find_spec(name, path) if wrap else None
        if wrap is None or spec is None or spec.loader is None:
            return None
        spec.loader.exec_module = functools.partial(_load, spec.loader.exec_module, wrap)  # type: ignore[method-assign]
        return spec


def _load(exec_module: Callable[[ModuleType], None], wrap: Callable[[Any], None], module: ModuleType) -> None:
    exec_module(module)
    try:
        wrap(module)
    except AttributeError as err:  # a wandb that looks different: the script matters more than its metrics
        warn(f"cannot follow wandb's metrics: {err}")


def _wrap_run(module: Any) -> None:
    _wrap_log(module.Run)


def _wrap_noop_run(module: Any) -> None:
    _wrap_log(module.NoopRun)


def _wrap_log(owner: Any) -> None:
    original = owner.log

    @functools.wraps(original)
    def log(self: Any, data: Any, step: Any = None, commit: Any = None, *args: Any, **kwargs: Any) -> Any:
        result = original(self, data, step, commit, *args, **kwargs)  # first: its errors are the script's
        _active_run().follow(data, step, commit)
        return result

    owner.log = log


def _wrap_summary(module: Any) -> None:
    original = module.Summary.update

    @functools.wraps(original)
    def update(self: Any, d: Any) -> Any:
        result = original(self, d)
        _active_run().follow_summary(d)
        return result

    module.Summary.update = update


def _active_run() -> Any:
    # Only now: every Python process of the job loads this module, few of them report anything.
    return import_module("smsweep.runtime.report").active_run()


_WRAPPERS: dict[str, Callable[[Any], None]] = {
    "wandb.sdk.wandb_run": _wrap_run,
    "wandb.sdk.lib.noop_run": _wrap_noop_run,  # wandb.init(mode="disabled") before 0.24
    "wandb.sdk.wandb_summary": _wrap_summary,
}
