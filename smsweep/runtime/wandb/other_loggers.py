"""Forward scalars that a script gives to TensorBoard's SummaryWriter or to MLflow to the sweep.

Each metric keeps its own steps, because neither library has one counter for all metrics as W&B has.
"""

from __future__ import annotations

import functools
from importlib import import_module

from smsweep.runtime.wandb.import_hook import on_import

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_installed: list[bool] = []


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
