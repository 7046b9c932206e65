"""Run W&B sweeps as Amazon SageMaker training jobs, one job per trial, and on your own machine first.

Outside a job: `sweep`, `agent`, `run`, `Api`, `suggest`, `judge`. Inside one: `init`, `log`, `config`, `summary`.
Nothing is imported before its first use, so that a training script pays only for what it calls.
"""

import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from smsweep.errors import ConfigError, SmsweepError
    from smsweep.runtime.report import (
        active_run,
        config,
        define_metric,
        finish,
        init,
        log,
        log_code,
        login,
        summary,
    )
    from smsweep.runtime.run import Run
    from smsweep.sdk.api import Api
    from smsweep.sdk.create import sweep
    from smsweep.sdk.execute import agent
    from smsweep.sdk.run import run
    from smsweep.sdk.simulate import judge, suggest
    from smsweep.trials import StopDecision

__version__ = "0.1.0"

_HOMES = {
    "Api": "smsweep.sdk.api",
    "ConfigError": "smsweep.errors",
    "Run": "smsweep.runtime.run",
    "SmsweepError": "smsweep.errors",
    "StopDecision": "smsweep.trials",
    "active_run": "smsweep.runtime.report",
    "agent": "smsweep.sdk.execute",
    "config": "smsweep.runtime.report",
    "define_metric": "smsweep.runtime.report",
    "finish": "smsweep.runtime.report",
    "init": "smsweep.runtime.report",
    "judge": "smsweep.sdk.simulate",
    "log": "smsweep.runtime.report",
    "log_code": "smsweep.runtime.report",
    "login": "smsweep.runtime.report",
    "run": "smsweep.sdk.run",
    "suggest": "smsweep.sdk.simulate",
    "summary": "smsweep.runtime.report",
    "sweep": "smsweep.sdk.create",
}

__all__ = [
    "Api",
    "ConfigError",
    "Run",
    "SmsweepError",
    "StopDecision",
    "active_run",
    "agent",
    "config",
    "define_metric",
    "finish",
    "init",
    "judge",
    "log",
    "log_code",
    "login",
    "run",
    "suggest",
    "summary",
    "sweep",
]


def __getattr__(name: str) -> "Any":
    # Nothing is kept in the module: `config` and `summary` are those of the run that is active now.
    home = _HOMES.get(name)
    if home is None:
        advice = import_module("smsweep.runtime.talk").KEEP_WANDB
        raise AttributeError(f"module 'smsweep' has no attribute {name!r}; {advice}")
    try:
        # Loaded ones from here: import_module takes a lock, for which a signal's handler would wait for ever.
        loaded = sys.modules.get(home)
        return getattr(loaded if hasattr(loaded, name) else import_module(home), name)
    except ModuleNotFoundError as err:
        if not home.startswith(err.name or "?"):
            raise
        raise ImportError(
            f"smsweep.{name} is not available inside a job, which has only init, active_run (W&B's wandb.run), "
            "log, define_metric, finish, log_code, login, config and summary; "
            "install smsweep in the image to use the rest"
        ) from None


class _Face(type(import_module(__name__))):  # type: ignore[misc]  # the type of modules, without an import for it
    """Keeps `config` the active run's when the package smsweep.config is loaded and would take its place."""

    @property
    def config(self) -> "Any":
        return __getattr__("config")

    @config.setter
    def config(self, package: object) -> None:
        pass  # found in sys.modules all the same


import_module(__name__).__class__ = _Face


def __dir__() -> "list[str]":
    return sorted([*__all__, "__version__"])
