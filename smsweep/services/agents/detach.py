"""Detached agents: as a daemon on this machine, or as a SageMaker training job."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from smsweep.backends.registry import BACKENDS, FREE, backend_names, is_local
from smsweep.config_files.code_consent import ALLOW, Code, allowing, refuse_code
from smsweep.core.job import VARIABLE, JobTemplate
from smsweep.core.json_documents import LocalAgentDocument
from smsweep.core.sweep import Sweep, SweepState
from smsweep.errors import SmsweepError, UsageError
from smsweep.remote.daemon import Daemon as Daemon
from smsweep.remote.daemon import daemons, find_daemon, start_daemon
from smsweep.remote.record import DetachRecord as DetachRecord
from smsweep.remote.record import own_job, read_records, write_record
from smsweep.secrets.redact import make_redact
from smsweep.services.agent_ids import release_dead_agents
from smsweep.services.agents.mlflow_tracker import NOT_REMOTE
from smsweep.services.backends import open_backend, refuse_in_place
from smsweep.services.labels import parse_sweep_id
from smsweep.services.sweeps import control
from smsweep.services.sweeps.control import closed_to_agents
from smsweep.services.sweeps.load import JobLike, load_job
from smsweep.services.sweeps.search_program import codes_of, stored_code
from smsweep.services.workspace import Workspace
from smsweep.source.bundle import bundle_path, open_bundle
from smsweep.source.pack import refuse_upload
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.util.clock import utc_now

if TYPE_CHECKING:
    from smsweep.remote.agent_job.submit import DetachedSweep

log = logging.getLogger(__name__)

PAGE_TOKEN = "SMSWEEP_UI_TOKEN"  # noqa: S105 - a name # nosec B105
MOST_PARALLEL = 256
MOST_AGENTS, LOG_BYTES, LOG_LINES = 10, 16_000, 40  # in `local_agents`
PATIENCE_S = 5.0  # wait for the agent's first claim
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0  # between attempts of an agent that cannot reach AWS


def detach(
    sweep_id: str, arguments: Sequence[str] = (), notify: Sequence[str] = (), *, without: Collection[str] = ()
) -> Daemon:
    """Start an agent as a daemon on this machine, with its log in SMSWEEP_DIR/agents/ID.

    Args:
        sweep_id: Id of the sweep.
        arguments: Arguments of `smsweep agent`.
        notify: Values of its `--notify`. They are passed in the environment, so that `ps` does not show them.
        without: Variables of the environment that the agent does not get.

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
            {**_agent_environ(workspace, without), **_hooks(notify, workspace.environ)},
            lambda: bool(store.holders(sweep_id) - before),
            PATIENCE_S,
            arguments,
        )


def start_local_agent(
    sweep_id: str, *, parallel: int, backend: str, accepts_cost: bool = False, without: Collection[str] = ()
) -> Daemon:
    """Start an agent as a daemon on this machine, for a caller that cannot ask the user.

    Args:
        sweep_id: Id of the sweep.
        parallel: Maximum number of trials at the same time.
        backend: Name of the backend.
        accepts_cost: The user agreed that the backend's jobs cost money.
        without: Variables of the environment that the agent does not get.

    Raises:
        NotFound: If there is no such sweep.
        UsageError: If an argument is invalid, the backend costs money without consent, or the sweep is finished.
        SmsweepError: If the agent exits immediately.
    """
    if backend not in backend_names():
        raise UsageError(f"no backend {backend!r}; use one of {', '.join(sorted(backend_names()))}")
    if not 1 <= parallel <= MOST_PARALLEL:
        raise UsageError(f"parallel: expected a number from 1 to {MOST_PARALLEL}, got {parallel}")
    if costs_money(backend) and not accepts_cost:
        raise UsageError(f"jobs of the backend {backend} cost money; confirm the cost to start an agent")
    consent = ["--yes"] if costs_money(backend) else []
    return detach(sweep_id, [f"--parallel={parallel}", f"--backend={backend}", *consent], without=without)


def costs_money(backend: str) -> bool:
    """Return True if the jobs of a backend run in a cloud account."""
    return backend not in FREE and not is_local(backend)


def local_agents(sweep: Sweep) -> list[LocalAgentDocument]:
    """Return the daemons that were started on this machine for a sweep, newest first. Secrets are masked."""
    workspace = Workspace()
    redact = make_redact(workspace.environ, sweep.job)
    return [
        {
            "number": daemon.number,
            "pid": daemon.pid,
            "arguments": list(daemon.arguments),
            "started_at": daemon.started_at,
            "is_running": daemon.is_running,
            "log": redact(daemon.tail(LOG_BYTES)).splitlines()[-LOG_LINES:],
        }
        for daemon in daemons(workspace.dir / "agents" / sweep.id)[:MOST_AGENTS]
    ]


def stop_local_agent(sweep_id: str, number: int, *, at_once: bool) -> None:
    """Stop a daemon of `local_agents`.

    Args:
        sweep_id: Id of the sweep.
        number: The number of the agent.
        at_once: Stop its running trials and return them to the queue; else it exits after they end.

    Raises:
        NotFound: If there is no such agent.
        UsageError: If it has ended.
    """
    find_daemon(Workspace().dir / "agents" / parse_sweep_id(sweep_id), number).stop(at_once=at_once)


def _agent_environ(workspace: Workspace, without: Collection[str]) -> dict[str, str]:
    """Return the environment of an agent: without the token of the web page, which trials could use."""
    environ = {name: value for name, value in workspace.environ.items() if name not in (PAGE_TOKEN, *without)}
    return {**environ, "SMSWEEP_DIR": str(workspace.dir)}


def set_state(sweep_id: str, verb: str) -> Sweep:
    """Pause, resume, stop or cancel a sweep, as `control.set_state`.

    The agents of a cancelled sweep stop its jobs. If these agents no longer run, start an agent on this machine.

    Args:
        sweep_id: Id of the sweep.
        verb: `pause`, `resume`, `stop` or `cancel`.

    Returns:
        The changed sweep.

    Raises:
        NotFound: If there is no such sweep.
        UsageError: If the sweep's state does not allow the change.
    """
    sweep = control.set_state(sweep_id, verb)
    if sweep.state is not SweepState.CANCELLED or sweep.id in read_records(Workspace().dir):
        return sweep
    for backend, n_jobs in _abandoned_jobs(sweep.id).items():
        lost = "1 running trial has no agent" if n_jobs == 1 else f"{n_jobs} running trials have no agent"
        try:
            daemon = detach(sweep.id, [f"--backend={backend}", f"--parallel={n_jobs}", "--yes"])
            log.warning("%s; agent %d stops its jobs, with the log %s", lost, daemon.pid, daemon.log)
        except SmsweepError as err:
            log.warning("%s, and none can be started: %s", lost, err)
    return sweep


def _abandoned_jobs(sweep_id: str) -> dict[str, int]:
    """Return backend -> number of active trials without an agent whose jobs this machine can reach."""
    workspace = Workspace()
    with workspace.store() as store:
        release_dead_agents(store, sweep_id)
        active = [trial for trial in store.list_trials(sweep_id) if trial.state.is_active]
    now = utc_now()
    places = Counter(
        trial.place for trial in active if trial.lease_expires_at is None or trial.lease_expires_at <= now
    )
    counts = {}
    for place, n_jobs in places.items():
        backend = place.partition("@")[0]
        if backend not in BACKENDS:
            continue  # a function, which ended with its agent
        with closing(open_backend(backend, workspace, only_reads=True)) as opened:
            if opened.place == place:
                counts[backend] = n_jobs
    return counts


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
        if not (sweep.source_hash or sweep.job.runs_image):
            raise UsageError(
                f"sweep {sweep_id}: names no program, and no function was sent; send one from Python: "
                f'smsweep.agent("{sweep_id}", function=..., backend="sagemaker", count=1)'
            )
        template, file = sweep.job, workspace.store_file
        if template.tracking:
            log.warning(NOT_REMOTE, sweep_id)
        is_copied = arguments.get("no-in-place")
        _refuse_local(sweep, workspace, in_place=False if is_copied else arguments.get("in-place"))
        if with_agent:
            check_agent_role(template)
        codes = codes_of(sweep.config, stored_code(store, sweep), template)
        refuse_code(codes, workspace.environ)
        bundle = bundle_path(workspace.bundles_dir, sweep.source_hash)
        if sweep.source_hash and bundle.exists():  # if not, `start_detached` raises an error
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


def check_remote(sweep_id: str, in_place: bool | None) -> None:
    """Raise an error if an agent on another machine cannot run a sweep.

    Args:
        sweep_id: Id of the sweep.
        in_place: The agent's option; None for that of the sweep.

    Raises:
        NotFound: If there is no such sweep.
        SourceError: If the source contains a secret.
        UsageError: If the trials run in the original source folder.
    """
    workspace = Workspace()
    with workspace.store() as store:
        _refuse_local(store.get_sweep(parse_sweep_id(sweep_id)), workspace, in_place=in_place)


def _refuse_local(sweep: Sweep, workspace: Workspace, *, in_place: bool | None) -> None:
    refuse_upload(workspace.bundles_dir, sweep.source_hash)
    is_in_place = sweep.job.in_place if in_place is None else in_place
    refuse_in_place(replace(sweep.job, in_place=is_in_place), "sagemaker")


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
