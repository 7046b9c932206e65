"""Forward a script's W&B metrics to the sweep while the script runs, without changing the script.

W&B's own files cannot be used: they are buffered until the run ends, and a stopped run loses them. Therefore
`Run.log` and the summary are wrapped when the script imports wandb. Supports wandb 0.13 to 0.31. Scripts started
with `python -I`, `-E` or `-S` are not followed.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import weakref
from collections.abc import Mapping
from importlib import import_module

from smsweep.runtime.script.config import as_mapping, merge
from smsweep.runtime.script.define_metric import StepMetrics, SummaryMetrics
from smsweep.runtime.script.records import URL, warn
from smsweep.runtime.wandb.offline_runs import note
from smsweep.runtime.wandb.other_loggers import on_import

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SWEEP_OWNS = {  # argument of wandb.init -> its name in settings, variable with the sweep's value
    "id": ("run_id", "WANDB_RUN_ID"),
    "project": ("project", "WANDB_PROJECT"),
    "entity": ("entity", "WANDB_ENTITY"),
}


def install() -> None:
    """Watch for wandb's modules. Imports neither wandb nor the rest of the runtime."""
    on_import(
        {
            "wandb.sdk.wandb_init": _wrap_init,
            "wandb.sdk.wandb_run": _wrap_run,
            "wandb.sdk.lib.noop_run": _wrap_noop_run,  # wandb.init(mode="disabled") before 0.16
            "wandb.sdk.wandb_summary": _wrap_summary,
        }
    )


class _Followed:
    """State of one W&B run. A script may have several runs in sequence."""

    def __init__(self) -> None:
        self.has_begun = False  # the run has logged something
        self.step_metrics = StepMetrics()
        self.summaries = SummaryMetrics()


class _Process:
    """State of this process."""

    is_silent_rank = False  # the script has disabled W&B in this process, so that only one rank logs


_process = _Process()
_runs: weakref.WeakKeyDictionary[Any, _Followed] = weakref.WeakKeyDictionary()


def _followed(run: Any) -> _Followed:
    return _runs.setdefault(run, _Followed())


def _wrap_init(module: Any) -> None:
    """Make the script's run the trial's run, and ignore the script's own id and project, as W&B does in a sweep.

    W&B itself does so only if WANDB_SWEEP_ID is set. W&B's server then looks up the sweep, which it does not know,
    at once or when an offline run is uploaded.
    """
    original = module.init

    @functools.wraps(original)
    def init(*args: Any, **kwargs: Any) -> Any:
        _report().bind_wandb()
        if not _report().follows_wandb():
            return original(*args, **kwargs)
        for name, (setting, variable) in SWEEP_OWNS.items():
            ours = os.environ.get(variable)
            value = kwargs.get(name) or _setting(kwargs, setting)
            if ours and value and str(value) != ours and _is_in_sweep():
                warn(f"wandb.init({name}={value!r}) is ignored in a sweep, as in W&B; the sweep sets {ours}")
                kwargs[name] = ours  # replaces the value in settings as well
        merged = _without_conflicts(kwargs) if _is_in_sweep() and _is_disabled(kwargs) else {}
        _process.is_silent_rank = _is_disabled(kwargs, environ={}) and _is_another_rank()
        run = original(*args, **kwargs)
        if merged:
            run.config.update(merged, allow_val_change=True)
        if _is_in_sweep() and _is_trials(run):
            url, log = getattr(run, "url", None), getattr(run, "log", None)
            if isinstance(url, str) and url.startswith("http"):
                _active_run().follow_summary({URL: url})
            if callable(log) and not hasattr(log, "__self__"):
                _follow_disabled(run, log)
            files = getattr(run, "dir", None)
            if isinstance(files, str):
                note(os.path.dirname(os.path.abspath(files)), os.environ)
        return run

    for place in (module, sys.modules.get("wandb.sdk"), sys.modules.get("wandb")):  # they may be imported already
        if place is not None and vars(place).get("init") is original:
            vars(place)["init"] = init


def _is_disabled(arguments: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> bool:
    """Return True if the run has `mode="disabled"`. arguments: arguments of wandb.init."""
    modes = (
        {arguments["mode"]} if arguments.get("mode") else {_setting(arguments, "mode"), environ.get("WANDB_MODE")}
    )
    return "disabled" in modes


def _setting(arguments: Mapping[str, Any], name: str) -> Any:
    """Return a value of `settings=`, which is an object or a dict; None if it is not set."""
    settings = arguments.get("settings")
    return settings.get(name) if isinstance(settings, Mapping) else getattr(settings, name, None)


def _is_another_rank() -> bool:
    """Return True if this process belongs to a distributed job and is not rank 0."""
    torch = sys.modules.get("torch.distributed")
    if torch is not None and getattr(torch, "is_initialized", bool)():
        return bool(torch.get_rank() > 0)
    return any(os.environ.get(name, "0") != "0" for name in ("RANK", "OMPI_COMM_WORLD_RANK"))


def _without_conflicts(arguments: dict[str, Any]) -> dict[str, Any]:
    """Remove the sweep's params from the script's defaults. Return merged nested values, to be set after `init`.

    A disabled run ignores the sweep's params: it fails if a default differs from the sweep's value, and does not
    merge nested values.
    """
    defaults = arguments.get("config")
    if not isinstance(defaults, Mapping) and type(defaults).__name__ != "Namespace":
        return {}
    defaults, params = as_mapping(defaults), _active_run().config.as_dict()
    arguments["config"] = {name: value for name, value in defaults.items() if name not in params}
    shared = {name: merge(value, params[name]) for name, value in defaults.items() if name in params}
    return {name: value for name, value in shared.items() if isinstance(value, Mapping)}


def _follow_disabled(run: Any, log: Any) -> None:
    """Follow a run of `wandb.init(mode="disabled")` before 0.24, whose `log` is a function and not a method."""

    def followed(data: Any, step: Any = None, commit: Any = None, *args: Any, **kwargs: Any) -> Any:
        result = log(data, step, commit, *args, **kwargs)
        if not _report().follows_wandb():
            return result
        trial = _active_run()
        if step is None and trial.step == 0:
            trial.follow_anew(_resume_step())
        trial.follow(trial.metrics_of(data), step, commit)
        return result

    run.log = sys.modules["wandb"].log = followed  # type: ignore[attr-defined]  # a module object has no `log`


def _wrap_run(module: Any) -> None:
    _wrap_log(module.Run)
    _wrap_define_metric(module.Run)
    _wrap_sweep_id(module.Run)
    _wrap_resume(module.Run)


def _wrap_resume(owner: Any) -> None:
    """Let a run without an account resume after the steps of the trial's earlier attempts.

    For a run with an account, W&B's server sends the step.
    """
    original = owner._set_run_obj

    @functools.wraps(original)
    def set_run_obj(self: Any, run_obj: Any) -> Any:
        step = _resume_step()
        if step and _is_without_server(self) and _is_trials(self):
            run_obj.starting_step, run_obj.resumed = step, True
        return original(self, run_obj)

    owner._set_run_obj = set_run_obj


def _wrap_noop_run(module: Any) -> None:
    _wrap_log(module.NoopRun)


def _wrap_log(owner: Any) -> None:
    original = owner.log

    @functools.wraps(original)
    def log(self: Any, data: Any, step: Any = None, commit: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not _is_trials(self):
            return original(self, data, step, commit, *args, **kwargs)
        run = _active_run()
        with run.own_lock():  # W&B and the sweep get the rows in the same order if several threads log
            values = run.metrics_of(data)  # first, because W&B may replace nested values in data
            result = original(self, data, step, commit, *args, **kwargs)  # its exceptions are raised in the script
            _follow(self, run, data, values, step, commit)
        return result

    owner.log = log


def _follow(wandb_run: Any, run: Any, data: Any, values: Any, step: Any, commit: Any) -> None:
    """Log what the W&B run has just logged. values: the metrics in data."""
    followed = _followed(wandb_run)
    if not followed.has_begun:
        begin = getattr(wandb_run, "starting_step", 0) or (_resume_step() if _is_without_server(wandb_run) else 0)
        run.follow_anew(begin if step is None else 0)
        followed.has_begun = True
    names = {*map(str, data), *values}  # includes media
    steps = followed.step_metrics.missing(names, begin_at_zero=_has_core())
    at = run.follow({**values, **steps}, step, commit)
    if at is not None:
        followed.step_metrics.note(values)
        summaries = followed.summaries.update(values, at)
        if summaries:
            run.follow_summary(summaries)


def _wrap_define_metric(owner: Any) -> None:
    original = owner.define_metric

    @functools.wraps(original)
    def define_metric(
        self: Any, name: Any, step_metric: Any = None, step_sync: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        result = original(self, name, step_metric, step_sync, *args, **kwargs)
        kinds = kwargs.get("summary", args[1] if len(args) > 1 else None)  # after `hidden`
        goal = kwargs.get(
            "goal", args[2] if len(args) > 2 else None
        )  # newer versions have `overwrite` in this place
        if isinstance(kinds, str):
            _followed(self).summaries.define(str(name), kinds, goal if isinstance(goal, str) else None)
        if step_sync is not False and step_metric is not None:
            _followed(self).step_metrics.define(str(name), str(getattr(step_metric, "name", step_metric)))
        return result

    owner.define_metric = define_metric


def _wrap_sweep_id(owner: Any) -> None:
    """Make `run.sweep_id` return smsweep's sweep id, which W&B itself must not use: see _wrap_init."""
    original = owner.sweep_id
    owner.sweep_id = property(
        lambda self: original.fget(self) or (_report().follows_wandb() and _active_run().sweep_id) or None,
        doc=original.__doc__,
    )


def _wrap_summary(module: Any) -> None:
    original = module.Summary._update  # also called for nested values: summary["a"]["b"] = 1

    @functools.wraps(original)
    def update(self: Any, record: Any) -> Any:
        result = original(self, record)
        if (
            _report().follows_wandb()
            and not _process.is_silent_rank
            and ("WANDB_RUN_ID" in os.environ or not _is_in_sweep())
        ):
            values: Any = {}
            for item in record.update:
                value = item.value
                for key in reversed(item.key):
                    value = {key: value}
                values = merge(values, value)
            _active_run().follow_summary(values)
        return result

    module.Summary._update = update


def _is_trials(run: Any) -> bool:
    """Return True for the trial's own run, False for other runs that the script starts in the same job.

    W&B's example of cross-validation starts one run per fold in separate processes, without the trial's variables.
    """
    if _process.is_silent_rank or not _report().follows_wandb():
        return False
    if "WANDB_RUN_ID" in os.environ or not _is_in_sweep():
        return True
    return bool(getattr(run, "id", None) == _active_run().id)


def _resume_step() -> int:
    """Return the step after the points of the trial's earlier attempts; 0 for none."""
    return int(os.environ.get("SMSWEEP_RESUME_STEP") or 0)


def _is_without_server(run: Any) -> bool:
    """Return True for a run that is offline or disabled."""
    settings = getattr(run, "_settings", None)
    return bool(getattr(settings, "_offline", True) or getattr(settings, "_noop", False))


def _has_core() -> bool:
    """Return True if this version of wandb stores its rows in Go (0.18 and newer)."""
    version = re.match(r"(\d+)\.(\d+)", getattr(sys.modules.get("wandb"), "__version__", ""))
    return version is None or (int(version.group(1)), int(version.group(2))) >= (0, 18)


def _is_in_sweep() -> bool:
    return bool(_active_run().sweep_id)


def _active_run() -> Any:
    return _report().active_run()


def _report() -> Any:
    # Imported late, because every Python process of the job loads this module, but few report metrics.
    return import_module("smsweep.runtime.script.api")
