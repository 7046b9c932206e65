"""Detached agents: as a daemon on this machine, or as a SageMaker training job."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from smsweep.config_files.code_consent import ALLOW, Code, allowing, refuse_code
from smsweep.core.job import VARIABLE, JobTemplate
from smsweep.core.sweep import Sweep, SweepState
from smsweep.errors import SmsweepError, UsageError
from smsweep.remote.daemon import Daemon as Daemon
from smsweep.remote.daemon import start_daemon
from smsweep.remote.record import DetachRecord as DetachRecord
from smsweep.remote.record import own_job, read_records, write_record
from smsweep.services.agent_ids import release_dead_agents
from smsweep.services.labels import parse_sweep_id
from smsweep.services.sweeps.control import closed_to_agents
from smsweep.services.sweeps.load import JobLike, load_job
from smsweep.services.sweeps.search_program import codes_of, stored_code
from smsweep.services.workspace import Workspace
from smsweep.source.bundle import bundle_path, open_bundle
from smsweep.store import notes
from smsweep.store.base import Store

if TYPE_CHECKING:
    from smsweep.remote.agent_job.submit import DetachedSweep

log = logging.getLogger(__name__)

PATIENCE_S = 5.0  # wait for the agent's first claim
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0  # between attempts of an agent that cannot reach AWS


def detach(sweep_id: str, arguments: Sequence[str] = (), notify: Sequence[str] = ()) -> Daemon:
    """Start an agent as a daemon on this machine, with its log in SMSWEEP_DIR/agents/ID.

    Args:
        sweep_id: Id of the sweep.
        arguments: Arguments of `smsweep agent`.
        notify: Values of its `--notify`. They are passed in the environment, so that `ps` does not show them.

    Raises:
        NotFound: If there is no such sweep.
        UsageError: If the sweep is finished.
        SmsweepError: If the agent exits immediately.
    """
    workspace = Workspace()
    sweep_id = parse_sweep_id(sweep_id)
    workspace.make()
    with workspace.store() as store:
        _refuse_finished(store.get_sweep(sweep_id))
        before = store.holders(sweep_id)
        (workspace.dir / "agents").mkdir(mode=0o700, exist_ok=True)
        return start_daemon(
            [sys.executable, "-m", "smsweep.cli.main", "agent", sweep_id, *arguments],
            workspace.dir / "agents" / sweep_id,
            {**workspace.environ, "SMSWEEP_DIR": str(workspace.dir), **_hooks(notify, workspace.environ)},
            lambda: bool(store.holders(sweep_id) - before),
            PATIENCE_S,
        )


def _refuse_finished(sweep: Sweep) -> None:
    if sweep.state is SweepState.FINISHED:
        raise UsageError(
            f"sweep {sweep.id} is finished, so an agent exits immediately; "
            f"resume the sweep first: smsweep sweep --resume {sweep.id}"
        )


def _hooks(notify: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    every = [*filter(None, [environ.get(VARIABLE)]), *notify]
    return {VARIABLE: "\n".join(every)} if every else {}


def start_agent_job(sweep_id: str, arguments: Mapping[str, Any], *, with_agent: bool = True) -> DetachRecord:
    """Start a sweep's agent as a SageMaker training job.

    The sweep's store is uploaded to S3, unless it is a PostgreSQL database.

    Args:
        sweep_id: Id of the sweep.
        arguments: Arguments of `smsweep agent`, by their long names.
        with_agent: False uploads the store and the source without starting an agent.

    Returns:
        The record of the detached agent.

    Raises:
        NotFound: If there is no such sweep.
        UsageError: If an agent holds trials of the sweep, or the sweep is finished or runs a Python function.
        ConfigError: If the user has not consented to running the sweep's code.
        JobError: If AWS rejects a request.
        StoreError: If the store cannot be uploaded.
    """
    from smsweep.remote.agent_job.submit import DetachedSweep  # boto3 is slow to import

    workspace = Workspace()
    sweep_id = parse_sweep_id(sweep_id)
    known = read_records(workspace.dir).get(sweep_id)
    with workspace.store() as store:
        sweep = store.get_sweep(sweep_id)
        _refuse_finished(sweep)
        if not sweep.source_hash:
            raise UsageError(
                f"sweep {sweep_id}: runs a Python function, which a job cannot run; name a program instead"
            )
        template, file = sweep.job, workspace.store_file
        if with_agent:
            check_agent_role(template)
        codes = codes_of(sweep.config, stored_code(store, sweep), template)
        refuse_code(codes, workspace.environ)
        bundle = bundle_path(workspace.bundles_dir, sweep.source_hash)
        if bundle.exists():  # if not, `start_detached` raises an error
            open_bundle(bundle, expect=sweep.source_hash)
        if file is None and not with_agent:
            raise UsageError(
                "--detach=s3: the store is a database server, which needs no copy in S3; remove --detach"
            )
        detached = DetachedSweep(
            sweep=sweep,
            template=template,
            store=file,
            keep=_needed(store, sweep),
            bundles=workspace.bundles_dir,
            runtime_zip=workspace.runtime_zip(),
            arguments=arguments,
        )
        if file is None or (known is not None and known.uri):
            return _send(detached, known, workspace, codes, with_agent)
        with _without_local_agents(store, sweep):
            return _send(detached, known, workspace, codes, with_agent)


def _send(
    detached: DetachedSweep,
    known: DetachRecord | None,
    workspace: Workspace,
    codes: Sequence[Code],
    with_agent: bool,
) -> DetachRecord:
    """Start the detached agent. It may run only the code that the user consented to, by its hash."""
    from smsweep.remote.agent_job.submit import start_detached  # boto3 is slow to import

    environ = {**workspace.environ, ALLOW: allowing(codes)}
    return start_detached(detached, known, workspace.dir, environ, with_agent=with_agent)


@contextmanager
def _without_local_agents(store: Store, sweep: Sweep) -> Iterator[None]:
    """Stop the sweep in the local store. If the body raises, restore its state.

    Raises UsageError if an agent of this machine holds trials of the sweep.
    """
    with closed_to_agents(store, sweep):
        _refuse_agents(store, sweep.id)
        yield


def work_on(work: Callable[[], int], sleep: Callable[[float], None] = time.sleep) -> int:
    """Run an agent and return its exit code. Retry a detached agent that cannot reach AWS.

    A detached agent can fail to reach AWS when it starts, and when it uploads its store. Without the retry, its
    job fails, and no other agent starts. Other agents raise the error.

    Args:
        work: Runs the agent and returns its exit code.
        sleep: Waits for a number of seconds.

    Raises:
        SmsweepError: If `work` raises an error that is not retried.
    """
    is_job = bool(own_job(Workspace().environ))
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return work()
        except SmsweepError as err:
            if not is_job or not err.retryable:
                raise
            log.warning("%s; trying again in %.0f s", err, pause_s)
        sleep(pause_s)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


def check_agent_role(job: JobLike | JobTemplate) -> None:
    """Check that a detached agent's job has a role of its own.

    The agent's role can write the agent's store, and the agent starts the jobs that its store describes. With the
    same role, a training script could start jobs through the store.

    Args:
        job: A job.yaml, or the template that was parsed from it.

    Raises:
        UsageError: If the agent has no role of its own. Other checks handle a job.yaml without any role.
        ConfigError: If `job` is not a valid job.yaml.
    """
    template = job if isinstance(job, JobTemplate) else load_job(job).template
    role = template.request.get("RoleArn")
    if role and template.agent.get("role") in (None, role):
        raise UsageError(
            "job.yaml: agent.role: a detached agent needs a role of its own, because with the trials' role any "
            "training script could change the agent's store; create a role with the policy that `smsweep iam "
            "--job job.yaml --of agent` prints, and name it: agent: {role: arn:aws:iam::ACCOUNT:role/NAME}"
        )


def attach(sweep_id: str, uri: str) -> None:
    """Register a sweep whose store is in S3 in this workspace.

    Args:
        sweep_id: Id of the sweep.
        uri: s3://BUCKET/PREFIX of the store, as `kept_at` of `smsweep show --json`.

    Raises:
        UsageError: If `uri` is not a valid S3 URI.
    """
    workspace = Workspace()
    sweep_id = parse_sweep_id(sweep_id)
    if not uri.startswith("s3://") or not uri.removeprefix("s3://").partition("/")[2]:
        raise UsageError(f"--kept-at {uri!r}: is not a valid S3 location; give s3://BUCKET/PREFIX")
    known = read_records(workspace.dir).get(sweep_id)
    if known is None or known.uri != uri.rstrip("/"):
        workspace.make()
        write_record(workspace.dir, DetachRecord(sweep_id=sweep_id, uri=uri.rstrip("/")))


def _refuse_agents(store: Store, sweep_id: str) -> None:
    release_dead_agents(store, sweep_id)
    if holders := store.holders(sweep_id):
        raise UsageError(
            f"sweep {sweep_id}: agent {', '.join(sorted(holders))} runs trials of the sweep, and only one place "
            "can write its store; stop that agent first"
        )


def _needed(store: Store, sweep: Sweep) -> tuple[str, ...] | None:
    if notes.IS_REUSE.get(store, sweep.id):
        return None  # reuse can need any sweep
    return (sweep.id, *(prior.partition("/")[0] for prior in sweep.prior_runs))
