"""Forward scalars that a script gives to TensorBoard's SummaryWriter or to MLflow to the sweep.

Modules of other packages are wrapped when the script imports them, and never imported earlier. Each metric
keeps its own steps, because neither library has one counter for all metrics as W&B has.
"""

from __future__ import annotations

import functools
import sys
from importlib import import_module
from importlib.machinery import PathFinder

from smsweep.runtime.script.records import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType
    from typing import Any

    Wrap = Callable[[Any], None]

_installed: list[bool] = []


def on_import(wrappers: Mapping[str, Wrap]) -> None:
    """Watch the imports of this process. Call the wrapper of each named module after the module is loaded."""
    for name in [name for name in wrappers if name in sys.modules]:
        _wrap(wrappers[name], sys.modules[name])
    sys.meta_path.insert(0, _Finder(wrappers))


class _Finder:
    """Finds the modules to wrap in the places where Python finds them."""

    def __init__(self, wrappers: Mapping[str, Wrap]) -> None:
        self._wrappers = wrappers

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        wrap = self._wrappers.get(name)
        spec = PathFinder.find_spec(name, path) if wrap else None
        if wrap is None or spec is None or spec.loader is None:
            return None
        spec.loader.exec_module = functools.partial(_load, spec.loader.exec_module, wrap)  # type: ignore[method-assign]
        return spec


def _load(exec_module: Callable[[ModuleType], None], wrap: Wrap, module: ModuleType) -> None:
    exec_module(module)
    _wrap(wrap, module)


def _wrap(wrap: Wrap, module: ModuleType) -> None:
    try:
        wrap(module)
    except AttributeError as err:  # an unknown version of the library: the script continues without its metrics
        warn(f"cannot follow {module.__name__.partition('.')[0]}'s metrics: {err}")


def install() -> None:
    """Watch for the modules of these libraries. Repeated calls do nothing."""
    if _installed:
        return
    _installed.append(True)
    on_import(
        {
            "torch.utils.tensorboard.writer": _wrap_writer,
            "tensorboardX.writer": _wrap_writer,
            "mlflow.tracking.fluent": _wrap_mlflow,
        }
    )


def _wrap_writer(module: Any) -> None:
    owner = module.SummaryWriter
    original = owner.add_scalar

    @functools.wraps(original)
    def add_scalar(
        self: Any, tag: Any, scalar_value: Any, global_step: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        # The library first: its exceptions are raised in the script.
        result = original(self, tag, scalar_value, global_step, *args, **kwargs)
        _report({tag: scalar_value}, global_step)
        return result

    owner.add_scalar = add_scalar


def _wrap_mlflow(module: Any) -> None:
    log_metric, log_metrics = module.log_metric, module.log_metrics

    @functools.wraps(log_metric)
    def one(key: Any, value: Any, step: Any = None, *args: Any, **kwargs: Any) -> Any:
        result = log_metric(key, value, step, *args, **kwargs)
        _report({key: value}, step)
        return result

    @functools.wraps(log_metrics)
    def several(metrics: Any, step: Any = None, *args: Any, **kwargs: Any) -> Any:
        result = log_metrics(metrics, step, *args, **kwargs)
        _report(metrics, step)
        return result

    module.log_metric, module.log_metrics = one, several


def _report(values: Any, step: Any) -> None:
    # Imported late, because a script may import a logger and never use it.
    import_module("smsweep.runtime.script.api").active_run().follow_at(values, step)
