"""Hydra's launcher `smsweep`: each job of a multirun is a trial of a sweep.

Hydra imports this module at each start, also for other launchers. So it imports nothing that Hydra has not loaded.
"""

# Without `from __future__ import annotations`: Hydra runs the module before it is in sys.modules.

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class SmsweepLauncherConf:
    """The settings in `hydra.launcher`. Without a comment, a setting is the argument of `smsweep.agent`."""

    _target_: str = "hydra_plugins.smsweep_launcher.SmsweepLauncher"
    backend: str | None = None  # default: SMSWEEP_BACKEND, then the places of `job`, then "process"
    on: list[str] = field(default_factory=list)
    parallel: Any = 1  # a number or "auto"
    gpus_per_trial: float | None = None
    requirements: Any = None
    job: Any = None
    name: str | None = None  # of the sweep; default: hydra.job.name
    project: str | None = None  # of the sweep
    entity: str | None = None  # of the sweep
    metric: str | None = None  # name of the metric that the sweep optimizes
    goal: str = "minimize"  # of the metric
    max_consecutive_failed_runs: int | None = None
    term_timeout: float | None = None


ConfigStore.instance().store(
    group="hydra/launcher", name="smsweep", node=SmsweepLauncherConf, provider="smsweep_launcher"
)


class SmsweepLauncher(Launcher):  # type: ignore[misc]  # hydra is not in the environment of mypy
    """Runs the jobs of a multirun as the trials of one sweep.

    Args:
        settings: The fields of `SmsweepLauncherConf`.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.sweep_id = ""  # of the multirun; "" before the first launch
        self.n_trials = 0  # of the earlier launches

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Receive the config of the multirun. For the arguments, see Hydra's `Launcher`."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs as trials, and return their results in the order of the jobs.

        Args:
            job_overrides: The overrides of each job.
            initial_job_idx: Number of the first job.

        Raises:
            CompactHydraException: If smsweep cannot run the jobs.
        """
        from hydra_plugins.smsweep_launcher._launch import launch  # smsweep is slow to import

        return launch(self, job_overrides, initial_job_idx)
