"""Run W&B sweeps as Amazon SageMaker training jobs, one job per trial, and on your own machine first.

Outside a job: `sweep`, `agent`, `run`, `Api`, `suggest`, `judge`. In a job: `init`, `log`, `config`, `summary`.
Each name is imported at its first use, so that a training script loads only what it calls.
"""

import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from smsweep._version import __version__ as __version__
    from smsweep.api.api import Api
    from smsweep.api.simulate import judge, suggest
    from smsweep.core.trial import StopDecision
    from smsweep.errors import ConfigError, SmsweepError
    from smsweep.runtime.script.api import (
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
    from smsweep.runtime.script.run import Run
    from smsweep.services.agents.run_agent import agent, run
    from smsweep.services.sweeps.create import sweep


_MODULES = {
    "Api": "smsweep.api.api",
    "ConfigError": "smsweep.errors",
    "Run": "smsweep.runtime.script.run",
    "SmsweepError": "smsweep.errors",
    "StopDecision": "smsweep.core.trial",
    "__version__": "smsweep._version",
    "active_run": "smsweep.runtime.script.api",
    "agent": "smsweep.api.scripts",
    "config": "smsweep.runtime.script.api",
    "define_metric": "smsweep.runtime.script.api",
    "finish": "smsweep.runtime.script.api",
    "init": "smsweep.runtime.script.api",
    "judge": "smsweep.api.simulate",
    "log": "smsweep.runtime.script.api",
    "log_code": "smsweep.runtime.script.api",
    "login": "smsweep.runtime.script.api",
    "run": "smsweep.api.scripts",
    "suggest": "smsweep.api.simulate",
    "summary": "smsweep.runtime.script.api",
    "sweep": "smsweep.api.scripts",
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


# Names of wandb without a counterpart -> what to do instead.
_INSTEAD = {
    "controller": "each agent includes the controller: smsweep.agent(sweep_id, function)",
    "sagemaker_auth": "store W&B's key in AWS with: smsweep auth",
}


def __getattr__(name: str) -> "Any":
    # The value is not cached: `config` and `summary` belong to the active run, which changes.
    module = _MODULES.get(name)
    if module is None:
        advice = _INSTEAD.get(name) or import_module("smsweep.runtime.script.records").KEEP_WANDB
        raise AttributeError(f"module 'smsweep' has no attribute {name!r}; {advice}")
    try:
        # Use a loaded module directly: import_module takes a lock, and a signal handler can deadlock on it.
        loaded = sys.modules.get(module)
        return getattr(loaded if hasattr(loaded, name) else import_module(module), name)
    except ModuleNotFoundError as err:
        if not module.startswith(err.name or "?"):
            raise
        raise ImportError(
            f"smsweep.{name} is not available inside a job, which has only init, active_run (W&B's wandb.run), "
            "log, define_metric, finish, log_code, login, config and summary; "
            "install smsweep in the image to use the rest"
        ) from None


def __dir__() -> "list[str]":
    return sorted([*__all__, "__version__"])
