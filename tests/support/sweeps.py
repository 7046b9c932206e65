"""Sweeps for tests in which the search does not matter."""

from __future__ import annotations

from smsweep.core.job import JobTemplate
from smsweep.core.sweep import Metric, Sweep, SweepConfig
from smsweep.space.space import SearchSpace

CONFIG = SweepConfig(method="random", space=SearchSpace({}), metric=Metric(name="loss"))


def parse_stored(sweep_yaml: str, job_yaml: str) -> tuple[SweepConfig, JobTemplate]:
    """Parse the texts of a stored sweep, for tests whose sweeps all have CONFIG and no job config."""
    return CONFIG, JobTemplate()


def a_sweep(sweep_id: str = "abcd1234") -> Sweep:
    return Sweep(id=sweep_id, config=CONFIG, sweep_yaml="method: random\n")
