"""Create a sweep and run it, in one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from smsweep.engine.agent_state import AgentResult
from smsweep.services.agents.preflight import preflight
from smsweep.services.agents.run_agent import agent
from smsweep.services.sweeps.create import sweep
from smsweep.services.sweeps.estimators import compile_estimator
from smsweep.services.sweeps.load import JobLike, SweepLike


def run(
    config: SweepLike,
    *,
    entity: str | None = None,
    project: str | None = None,
    prior_runs: Iterable[str | Path] | str | Path | None = None,
    name: str | None = None,
    program: str | None = None,
    job: JobLike = None,
    estimator: Any = None,
    inputs: Any = None,
    seed: int | None = None,
    reuse: bool = False,
    on_created: Callable[[str], None] = lambda sweep_id: None,
    **agent_options: Any,
) -> AgentResult:
    """Create a sweep and run an agent on it; takes the arguments of both.

    What its backend cannot run raises before anything is created.
    """
    compiled = compile_estimator(estimator, inputs, job)
    backend = agent_options.get("backend")
    if agent_options.get("function") is None:
        preflight(
            config,
            program=program or (compiled.program if compiled else None),
            job=compiled.document if compiled else job,
            backend=compiled.chosen_backend(backend, os.environ) if compiled else backend,
            notify=agent_options.get("notify") or (),
        )
    sweep_id = sweep(
        config,
        entity,
        project,
        prior_runs,
        name=name,
        program=program,
        job=job,
        estimator=compiled,
        seed=seed,
        reuse=reuse,
    )
    on_created(sweep_id)
    return agent(sweep_id, estimator=compiled, **agent_options)
