"""Wiring: what the faces can ask for. A part, such as `sdk.plan`, loads when first asked for."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smsweep.agents import Outcome as Outcome
    from smsweep.sdk import again as again
    from smsweep.sdk import api as api
    from smsweep.sdk import auth as auth
    from smsweep.sdk import create as create
    from smsweep.sdk import detach as detach
    from smsweep.sdk import diff as diff
    from smsweep.sdk import doctor as doctor
    from smsweep.sdk import execute as execute
    from smsweep.sdk import exporting as exporting
    from smsweep.sdk import hosted as hosted
    from smsweep.sdk import iam as iam
    from smsweep.sdk import import_wandb as import_wandb
    from smsweep.sdk import labels as labels
    from smsweep.sdk import left_behind as left_behind
    from smsweep.sdk import live as live
    from smsweep.sdk import log_pages as log_pages
    from smsweep.sdk import manage as manage
    from smsweep.sdk import plan as plan
    from smsweep.sdk import prefixes as prefixes
    from smsweep.sdk import preflight as preflight
    from smsweep.sdk import queue as queue
    from smsweep.sdk import recover as recover
    from smsweep.sdk import reporting as reporting
    from smsweep.sdk import reproduce as reproduce
    from smsweep.sdk import results as results
    from smsweep.sdk import serve as serve
    from smsweep.sdk import signals as signals
    from smsweep.sdk import simulate as simulate
    from smsweep.sdk import slurm as slurm
    from smsweep.sdk import views as views
    from smsweep.sdk import wandb_sync as wandb_sync
    from smsweep.sdk import watching as watching
    from smsweep.sdk import why as why
    from smsweep.sdk import workspace as workspace
    from smsweep.trials import Trial as Trial

_PARTS = frozenset(
    {
        "again",
        "api",
        "auth",
        "create",
        "detach",
        "diff",
        "doctor",
        "execute",
        "exporting",
        "hosted",
        "iam",
        "import_wandb",
        "labels",
        "left_behind",
        "live",
        "log_pages",
        "manage",
        "plan",
        "prefixes",
        "preflight",
        "queue",
        "recover",
        "reporting",
        "reproduce",
        "results",
        "serve",
        "signals",
        "simulate",
        "slurm",
        "views",
        "wandb_sync",
        "watching",
        "why",
        "workspace",
    }
)


def __getattr__(name: str) -> ModuleType:
    if name not in _PARTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
