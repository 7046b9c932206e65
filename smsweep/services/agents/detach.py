"""An agent that stays when its terminal closes, here or on SageMaker."""

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

PATIENCE_S = 5.0  # for the agent's first claim
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0  # before an agent that could not reach AWS begins again


def detach(sweep_id: str, arguments: Sequence[str] = (), notify: Sequence[str] = ()) -> Daemon:
    """Leave an agent on a sweep behind on this machine, with its log in SMSWEEP_DIR/agents/ID.

    arguments: of `smsweep agent`. notify: its --notify, kept out of the list of processes. All about
    the sweep is in its store as ever, for any command.
    Raises NotFound, UsageError for a sweep that is finished, and SmsweepError when the agent ends at once.
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
            f"sweep {sweep.id} is finished, and an agent would end at once; "
            f"to go on: smsweep sweep --resume {sweep.id}"
        )


def _hooks(notify: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    every = [*filter(None, [environ.get(VARIABLE)]), *notify]
    return {VARIABLE: "\n".join(every)} if every else {}


def send_away(sweep_id: str, arguments: Mapping[str, Any], *, with_agent: bool = True) -> DetachRecord:
    """Start a sweep's agent as a training job of its own, and return where it is.

    arguments: of `smsweep agent`, by their long names. The sweep's store goes along into S3, unless it is a
    PostgreSQL database. with_agent: False for store and source alone.
    Raises UsageError where an agent works on the sweep already, or it is finished, JobError, StoreError.
    """
    from smsweep.remote.agent_job.submit import DetachedSweep  # boto3 is slow to import

    workspace = Workspace()
    sweep_id = parse_sweep_id(sweep_id)
    known = read_records(workspace.dir).get(sweep_id)
    with workspace.store() as store:
        sweep = store.get_sweep(sweep_id)
        _refuse_finished(sweep)
        if not sweep.source_hash:
            raise UsageError(f"sweep {sweep_id} names no program: only this machine has its function")
        template, file = sweep.job, workspace.store_file
        if with_agent:
            check_agent_role(template)
        codes = codes_of(sweep.config, stored_code(store, sweep), template)
        refuse_code(codes, workspace.environ)
        bundle = bundle_path(workspace.bundles_dir, sweep.source_hash)
        if bundle.exists():  # else `start_detached` says what to do
            open_bundle(bundle, expect=sweep.source_hash)
        if file is None and not with_agent:
            raise UsageError("--detach=s3: the store is a database already, which an agent anywhere may reach")
        luggage = DetachedSweep(
            sweep=sweep,
            template=template,
            store=file,
            keep=_needed(store, sweep),
            bundles=workspace.bundles_dir,
            runtime_zip=workspace.runtime_zip(),
            arguments=arguments,
        )
        if file is None or (known is not None and known.uri):
            return _send(luggage, known, workspace, codes, with_agent)
        with _stopped_here(store, sweep):
            return _send(luggage, known, workspace, codes, with_agent)


def _send(
    luggage: DetachedSweep,
    known: DetachRecord | None,
    workspace: Workspace,
    codes: Sequence[Code],
    with_agent: bool,
) -> DetachRecord:
    """Send an agent away with the consent to what was just allowed by its hash, and to no other code."""
    from smsweep.remote.agent_job.submit import start_detached  # boto3 is slow to import

    environ = {**workspace.environ, ALLOW: allowing(codes)}
    return start_detached(luggage, known, workspace.dir, environ, with_agent=with_agent)


@contextmanager
def _stopped_here(store: Store, sweep: Sweep) -> Iterator[None]:
    """Keep agents of this machine from the sweep from now on; from its end on only where it fails, no more.

    Raises UsageError where one has trials of it.
    """
    with closed_to_agents(store, sweep):
        _refuse_agents(store, sweep.id)
        yield


def work_on(work: Callable[[], int], sleep: Callable[[float], None] = time.sleep) -> int:
    """Run an agent from its first call of AWS to its end, and return its exit code.

    A detached agent that cannot reach AWS when it starts, or when it puts its store back, begins again. Its job
    would fail otherwise, and no other agent would be started. Any other agent ends with the error.

    Args:
        work: What runs the agent.
        sleep: Waits so many seconds.

    Raises:
        SmsweepError: What `work` raises, apart from that.
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

    The agent's role may write the agent's store. If trials had the same role, a training script could write it,
    too, and the agent, which may start jobs, obeys what is in its store.

    Args:
        job: A job.yaml, or what was read from it.

    Raises:
        UsageError: If the agent has no role of its own. A job.yaml without any role is left to other checks.
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
    """Have this folder know of a sweep that is kept in S3. uri: s3://BUCKET/PREFIX, as `show` tells it."""
    workspace = Workspace()
    sweep_id = parse_sweep_id(sweep_id)
    if not uri.startswith("s3://") or not uri.removeprefix("s3://").partition("/")[2]:
        raise UsageError(f"--kept-at {uri!r}: expected s3://BUCKET/PREFIX")
    known = read_records(workspace.dir).get(sweep_id)
    if known is None or known.uri != uri.rstrip("/"):
        workspace.make()
        write_record(workspace.dir, DetachRecord(sweep_id=sweep_id, uri=uri.rstrip("/")))


def _refuse_agents(store: Store, sweep_id: str) -> None:
    release_dead_agents(store, sweep_id)
    if holders := store.holders(sweep_id):
        raise UsageError(
            f"sweep {sweep_id} has trials in the hands of {', '.join(sorted(holders))}; let that agent end first: "
            "two places cannot both write its store"
        )


def _needed(store: Store, sweep: Sweep) -> tuple[str, ...] | None:
    if notes.IS_REUSE.get(store, sweep.id):
        return None  # any sweep may have the result already
    return (sweep.id, *(prior.partition("/")[0] for prior in sweep.prior_runs))
