"""`smsweep agent`: run trials of a sweep."""

from __future__ import annotations

import typer

from smsweep.cli.follow import follow
from smsweep.cli.options import (
    Backend,
    Count,
    Entity,
    ForwardSignals,
    Job,
    Json,
    MaxConsecutiveFailedRuns,
    Parallel,
    Project,
    Quiet,
    Reuse,
    SweepId,
    TermTimeout,
    Verbose,
)

EXAMPLES = """
smsweep agent abcd1234
smsweep agent abcd1234 --parallel 4
smsweep agent abcd1234 --count 1
smsweep agent team/digits/abcd1234 --backend docker --job job.yaml
"""


def agent(
    sweep_id: SweepId,
    count: Count = None,
    parallel: Parallel = 1,
    backend: Backend = None,
    job: Job = None,
    project: Project = None,
    entity: Entity = None,
    max_consecutive_failed_runs: MaxConsecutiveFailedRuns = None,
    reuse: Reuse = False,
    forward_signals: ForwardSignals = False,
    term_timeout: TermTimeout = None,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Run trials of a sweep until none is left.

    Several agents may share a sweep. Ctrl-C once lets running trials finish, twice stops them, three times
    kills them. SIGTERM stops them and puts them back into the queue. After a crash, just start an agent again:
    it settles what was running and goes on.
    """
    code = follow(
        sweep_id,
        as_json=as_json,
        count=count,
        parallel=parallel,
        backend=backend,
        job=job,
        project=project,
        entity=entity,
        max_consecutive_failed_runs=max_consecutive_failed_runs,
        reuse=reuse,
    )
    raise typer.Exit(code)
