"""Run jobs of Hydra as trials. Hydra does not import this module at its start, because of the `_` in its name.

This process composes the config of each job, because a container has no config files. The function of the jobs has
the configs, so that each launch sends a new function.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.errors import CompactHydraException
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

import smsweep
from smsweep.core.trial import Params
from smsweep.engine.agent_state import AgentResult
from smsweep.errors import SmsweepError, UsageError
from smsweep.services.agents.run_agent import agent, run
from smsweep.services.sweeps.control import add_trials
from smsweep.services.sweeps.load import load_job

if TYPE_CHECKING:
    from hydra_plugins.smsweep_launcher import SmsweepLauncher
    from smsweep.api.api import ApiRun

log = logging.getLogger(__name__)

RETURN_VALUE = "return_value"  # a metric for a number without a name, and a summary value for other results
EXIT_CODES = {"person": 130, "machine": 143}  # after Ctrl-C and SIGTERM
OF_SWEEP = ("name", "project", "entity")  # settings of the sweep, not of its agents
OF_METRIC = ("metric", "goal")
OWN_RESOLVERS = ("oc.", "hydra", "now", "python_version")  # OmegaConf and Hydra register these in each job


def launch(
    launcher: SmsweepLauncher, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
) -> list[JobReturn]:
    """Run jobs as trials. For the arguments and exceptions, see `SmsweepLauncher.launch`."""
    if not job_overrides:
        return []
    setup_globals()
    config = launcher.config
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    sweep_dir = Path(str(config.hydra.sweep.dir))
    sweep_dir.mkdir(parents=True, exist_ok=True)
    log.info("Launching %d jobs as trials, sweep output dir: %s", len(job_overrides), sweep_dir)
    for index, overrides in enumerate(job_overrides, initial_job_idx):
        log.info("\t#%d : %s", index, " ".join(filter_overrides(overrides)))
    configs = [_compose(launcher, overrides, n) for n, overrides in enumerate(job_overrides, initial_job_idx)]
    params = [_params_of(overrides) for overrides in job_overrides]
    try:
        outcome = _run_trials(launcher, configs, params, sweep_dir)
        runs = {run.trial.number: run for run in smsweep.Api().sweep(launcher.sweep_id).runs}
    except SmsweepError as err:
        raise CompactHydraException(str(err)) from err
    finally:
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    if outcome.asked_by:
        log.warning("sweep %s: its trials continue with: smsweep agent %s", launcher.sweep_id, launcher.sweep_id)
        raise SystemExit(EXIT_CODES[outcome.asked_by])
    first = launcher.n_trials
    launcher.n_trials += len(configs)
    return [
        _job_return(config, runs[number], outcome, launcher.settings["metric"])
        for number, config in enumerate(configs, first)
    ]


def _compose(launcher: SmsweepLauncher, overrides: Sequence[str], number: int) -> DictConfig:
    """Return the config of a job, with its number."""
    config = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, list(overrides))
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.job.id = f"{config.hydra.job.name}_{number}"
        config.hydra.job.num = number
        # Their types are classes of plug-ins, which a job does not have.
        for key in ("launcher", "sweeper"):
            config.hydra[key] = OmegaConf.create(OmegaConf.to_container(config.hydra[key]))
    return config


def _params_of(overrides: Sequence[str]) -> Params:
    """Return the params of a job: the override `+model/block.lr=0.1` is the param `model.block.lr`."""
    pairs = (override.partition("=") for override in filter_overrides(overrides))
    return {_param_name(key): _value_of(text) if is_set else None for key, is_set, text in pairs}


def _param_name(key: str) -> str:
    name = re.sub(r"[^\w.-]", "_", key.lstrip("+~").replace("/", "."), flags=re.ASCII)
    return name if re.match("[A-Za-z_]", name) else f"_{name}"


def _value_of(text: str) -> object:
    """Return the value in an override: a number, a boolean, None or a text."""
    words = {"true": True, "false": False, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        with suppress(ValueError, OverflowError):
            number = kind(text)
            return number if isfinite(number) else text
    return text


def _sweep_config(params: Sequence[Params], settings: Mapping[str, Any], job_name: str) -> dict[str, Any]:
    """Return the config of the sweep whose first trials have these params. It proposes no others."""
    values: dict[str, list[object]] = {}
    for assignment in params:
        for name, value in assignment.items():
            known = values.setdefault(name, [])
            if value not in known:
                known.append(value)
    parameters = {name: {"values": each} if len(each) > 1 else {"value": each[0]} for name, each in values.items()}
    metric, goal = settings["metric"], settings["goal"]
    return {
        "method": "grid",
        "run_cap": len(params),
        "parameters": parameters or {"hydra.job.name": {"value": job_name}},
        **({"metric": {"name": metric, "goal": goal}} if metric else {}),
    }


def _run_trials(
    launcher: SmsweepLauncher, configs: Sequence[DictConfig], params: Sequence[Params], sweep_dir: Path
) -> AgentResult:
    """Add trials to the sweep of a multirun, and run them. The first call creates the sweep.

    Raises:
        SmsweepError: If a setting is invalid, or the backend cannot run the jobs.
    """
    settings: dict[str, Any] = {key: _plain(value) for key, value in launcher.settings.items()}
    launcher.settings = settings
    job_name = str(launcher.config.hydra.job.name)
    first = launcher.n_trials
    numbers = range(first, first + len(params))
    sweep = {"id": launcher.sweep_id}  # the function is sent after the sweep exists
    options: dict[str, Any] = {
        **{key: value for key, value in settings.items() if key not in (*OF_SWEEP, *OF_METRIC)},
        "backend": _backend(settings),
        "until": numbers,
        "function": _make_function(
            launcher.task_function,
            {number: (each, config) for number, each, config in zip(numbers, params, configs, strict=True)},
            launcher.hydra_context.callbacks,
            job_name,
            sweep_dir=str(sweep_dir.absolute()),
            metric=settings["metric"] or RETURN_VALUE,
            sweep=sweep,
        ),
    }

    def add(sweep_id: str) -> None:
        launcher.sweep_id = sweep["id"] = sweep_id
        log.info("Sweep %s: smsweep show %s", sweep_id, sweep_id)
        add_trials(sweep_id, first, params)

    if launcher.sweep_id:
        add(launcher.sweep_id)
        return agent(launcher.sweep_id, **options)
    return run(
        _sweep_config(params, settings, job_name),
        **{**{key: settings[key] for key in OF_SWEEP}, "name": settings["name"] or job_name},
        on_created=add,
        **options,
    )


def _plain(value: object) -> object:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _backend(settings: Mapping[str, Any]) -> str | None:
    """Return the backend of the agent. Its default for a function are threads, which share Hydra's state."""
    if settings["backend"] == "inline":
        raise UsageError(
            "hydra.launcher.backend: inline runs all jobs in this process, which has one state of Hydra; "
            "use process, or hydra/launcher=basic"
        )
    template = load_job(settings["job"]).template
    for key, is_set in (("repeats", template.repeats > 1), ("confirm", template.confirm is not None)):
        if is_set:
            raise UsageError(
                f"job.yaml: {key}: Hydra's sweeper chooses all jobs; remove {key}, and sweep over a seed"
            )
    if settings["backend"] or settings["on"] or template.places or os.environ.get("SMSWEEP_BACKEND"):
        backend: str | None = settings["backend"]
        return backend
    return "process"


def _make_function(
    task_function: Callable[[Any], Any],
    jobs: Mapping[int, tuple[Params, DictConfig]],
    callbacks: Any,
    job_name: str,
    *,
    sweep_dir: str,
    metric: str,
    sweep: Mapping[str, str],
) -> Callable[[], None]:
    """Return the function of the trials. A job has no copy of this module, so it is pickled by value.

    Args:
        task_function: The function of the user.
        jobs: Number of a trial -> its params and its config.
        callbacks: Hydra's callbacks.
        job_name: `hydra.job.name`.
        sweep_dir: Absolute path of `hydra.sweep.dir` on this machine.
        metric: Name of the metric for a returned number.
        sweep: `id` is the id of the sweep.
    """
    launch_dir = str(Path.cwd())
    state = Singleton.get_state()
    singletons = {
        kind: state["instances"][kind] for kind in (JobRuntime, VersionBase) if kind in state["instances"]
    }
    resolvers = {
        name: function
        for name, function in state["omegaconf_resolvers"].items()
        if not name.startswith(OWN_RESOLVERS)
    }
    summary_key = RETURN_VALUE

    def run_trial() -> None:
        import json
        import os
        import sys

        from hydra.core.singleton import Singleton
        from hydra.core.utils import JobStatus, run_job, setup_globals
        from hydra.types import HydraContext
        from omegaconf import open_dict, read_write
        from omegaconf.basecontainer import BaseContainer

        import smsweep

        number = int(os.environ["SMSWEEP_TRIAL"])
        is_own = os.environ["SMSWEEP_SWEEP_ID"] == sweep["id"]  # else `smsweep reproduce` repeats the trial
        if is_own and number in jobs:
            config = jobs[number][1]
        else:
            params = dict(smsweep.config)
            config = next((config for known, config in jobs.values() if known == params), None)
        if config is None:
            sys.exit("the function of this trial was not sent; start the multirun again")
        if is_own and os.path.isdir(sweep_dir):  # noqa: PTH112 - a job starts without pathlib
            os.chdir(launch_dir)
        else:
            with read_write(config.hydra), open_dict(config.hydra):
                config.hydra.sweep.dir = os.environ["SM_OUTPUT_DATA_DIR"]
                config.hydra.runtime.cwd = os.getcwd()  # noqa: PTH109 - a job starts without pathlib
        setup_globals()
        BaseContainer._resolvers.update(resolvers)
        Singleton._instances.update(singletons)
        result = run_job(
            task_function=task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            hydra_context=HydraContext(config_loader=None, callbacks=callbacks),
        )
        value = result._return_value
        if result.status != JobStatus.COMPLETED:
            raise value.with_traceback(value.__traceback__.tb_next)  # without the frame of run_job
        if value is None:
            return
        try:
            value = json.loads(json.dumps(value, default=lambda other: other.item()))
        except Exception:  # noqa: BLE001 - `item` is a method of an array, or of any other object
            kind = f"{type(value).__module__}.{type(value).__qualname__}"
            print(f"{job_name} returned a {kind}, which is not JSON: the launcher returns None", file=sys.stderr)  # noqa: T201
            return
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            smsweep.log({metric: value})
        else:
            smsweep.summary[summary_key] = json.dumps(value)

    run_trial.__qualname__ = getattr(task_function, "__qualname__", job_name)  # for messages
    return run_trial


def _job_return(config: DictConfig, run: ApiRun, outcome: AgentResult, metric: str | None) -> JobReturn:
    """Return the result of a job, as Hydra's `run_job` returns it for a job of this process."""
    previous = HydraConfig.instance().cfg
    result = JobReturn()
    try:
        HydraConfig.instance().set_config(config)  # for `${hydra:...}` in the paths
        output_dir = os.path.join(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir))  # noqa: PTH118
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.runtime.output_dir = os.path.abspath(output_dir)  # noqa: PTH100 - as Hydra
        HydraConfig.instance().set_config(config)
        result.hydra_cfg = copy.deepcopy(HydraConfig.instance().cfg)
    finally:
        HydraConfig.instance().cfg = previous
    result.overrides = list(config.hydra.overrides.task)
    result.cfg = copy.deepcopy(config)
    with read_write(result.cfg), open_dict(result.cfg):
        del result.cfg["hydra"]
    result.working_dir = output_dir if config.hydra.job.chdir else str(Path.cwd())
    result.task_name = JobRuntime.instance().get("name")
    if run.state in ("finished", "stopped"):  # a rule stops a trial that has reported enough
        result.status = JobStatus.COMPLETED
        result.return_value = _return_value(run, metric)
        return result
    label = run.trial.label
    reason = run.trial.reason or outcome.trouble or "its agent exited before the trial ended"
    result.status = JobStatus.FAILED
    result.return_value = CompactHydraException(
        f"trial {label} {run.state}: {reason}\nIts log: smsweep logs {label}"
    )
    return result


def _return_value(run: ApiRun, metric: str | None) -> object:
    summary = run.summary
    value = summary.get(RETURN_VALUE)
    if isinstance(value, str):
        return json.loads(value)
    return summary.get(metric) if metric else value
