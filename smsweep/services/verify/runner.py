"""Run the checks of `smsweep verify` under a cost cap, and clean up after them."""

from __future__ import annotations

import logging
import math
import re
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from smsweep.aws.image_uris import GPU_FAMILY
from smsweep.aws.options import DEFAULT_RATES, SHORT
from smsweep.backends.base import BackendSpec
from smsweep.backends.registry import backend_spec
from smsweep.core.job import JobTemplate
from smsweep.errors import JobError, SmsweepError, UsageError
from smsweep.services.backends import backend_name
from smsweep.services.signals import exit_on_sigterm
from smsweep.services.sweeps.load import JobLike, load_job
from smsweep.services.verify import api_checks, job_checks, sweep_checks
from smsweep.services.verify.assumption import SKIPPED, UNKNOWN, Assumption, Result, judge
from smsweep.services.verify.cleanup import clean, find_live_jobs, stop_lost_jobs
from smsweep.services.verify.run_state import FOLDER, LOCK_FILE, STATE_FILE, RunState, list_runs, new_run_id
from smsweep.services.verify.session import (
    AWS,
    LOCAL,
    Facts,
    Session,
    template_of,
    user_environ,
)
from smsweep.services.workspace import Workspace
from smsweep.util.atomic_file import exclusive
from smsweep.util.clock import utc_now

log = logging.getLogger(__name__)

CHECKS: Sequence[Assumption] = (*api_checks.CHECKS, *job_checks.CHECKS, *sweep_checks.CHECKS)
DEFAULT_INSTANCE = "ml.m5.large"
DEFAULT_FRAMEWORK = {"framework": "pytorch", "framework_version": "2.3.0", "py_version": "py311"}
EMULATOR_BUCKET = "verified-bucket"
EMULATOR_JOB = {
    "role": "arn:aws:iam::123456789012:role/smsweep-verify",
    "image_uri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/smsweep-verify:1",
    "output_path": f"s3://{EMULATOR_BUCKET}/out",
}
EMULATOR_QUOTA = 8
RATES = "SMSWEEP_SAGEMAKER_RATES"
# The emulator has no rate limits.
EMULATOR_SETTINGS = {
    "SMSWEEP_SAGEMAKER_POLL_S": "0.1",
    "SMSWEEP_SAGEMAKER_LOG_LAG_S": "2",
    RATES: "create=1000,list=1000,describe=1000,stop=1000,logs=1000",
}
OWN_EMULATOR = "emulator-"  # start of the name of a folder in FOLDER
AT_ONCE = 4  # checks that run at the same time
# In AWS, the clients of all checks together make as many calls per second as one agent.
SHARED_RATES = ",".join(f"{name}={DEFAULT_RATES[action] / AT_ONCE:g}" for name, action in SHORT.items())
BATCH_QUEUE = "SMSWEEP_BATCH_QUEUE"
# What the reports mask.
ACCOUNT = re.compile(r"(?<![0-9A-Za-z])\d{12}(?![0-9A-Za-z])")
ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b")
ARN = re.compile(r"(arn:[\w-]+:(?:iam|sts)::[^:\s]*:[\w-]+)/[^\s\"',;)]+")
MAX_TEXT = 500  # characters of a text in a report
REQUEST_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A check of a run, and what it can cost."""

    check: Assumption
    worst_usd: float
    reason: str = ""  # why the check does not run; "" if it runs
    is_over_cap: bool = False  # the check does not fit into the rest of the cap


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a run is about to do."""

    facts: Facts
    max_usd: float
    spent_usd: float  # of the run that is continued
    checks: tuple[Planned, ...]  # in the order in which they run
    run: str  # id
    is_continued: bool

    @property
    def worst_usd(self) -> float:
        """The most that the run can still cost: the worst cases of its checks, at most the rest of the cap."""
        worst = sum(planned.worst_usd for planned in self.checks if not planned.reason)
        return min(worst, max(0.0, self.max_usd - self.spent_usd))


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """The outcome of a run."""

    facts: Facts
    state: RunState
    results: tuple[Result, ...]  # of all checks that apply to the backend, in their order
    remains: tuple[str, ...]  # what could not be removed

    @property
    def is_different(self) -> bool:
        """True if the answer to a check is not the expected one."""
        return any(result.verdict == "different" for result in self.results)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The options of a run. See `smsweep verify --help`."""

    backend: str | None = None
    job: JobLike = None
    against_emulator: bool = False
    max_usd: float | None = None  # None: 0 for a backend with prices, no cap otherwise
    instance_type: str = DEFAULT_INSTANCE
    only: tuple[str, ...] = ()  # ids of checks; () for all
    creates_roles: bool = False
    is_new: bool = False  # start a new run, even if the last one is not complete


def verify(
    options: Options,
    *,
    consent: Callable[[Plan], None],
    on_result: Callable[[Assumption, Result], None] = lambda check, result: None,
    on_progress: Callable[[str], None] = lambda text: None,
    workspace: Workspace | None = None,
) -> Verification:
    """Run the checks of a backend, cheapest first, and remove everything that they created.

    A run that was killed continues: its results and its cost count, and what it left is removed first.

    Args:
        options: The options.
        consent: Shows the plan to the user. Raises to end the run before its first call that can cost money.
        on_result: Called after each check.
        on_progress: Called with a line for the user when a check starts.
        workspace: The workspace. Default: that of this environment.

    Raises:
        UsageError: If the options or the account do not allow a run.
        JobError: If the account cannot be reached.
    """
    with _opened(options, workspace or Workspace()) as session:
        plan = make_plan(options, session)
        consent(plan)
        remains = clean(session, on_progress)
        if remains:
            raise JobError(
                f"run {plan.run}: not everything of its last attempt could be removed: {'; '.join(remains)}; "
                "remove it, then repeat the command"
            )
        try:
            with exit_on_sigterm():
                _run(plan, session, on_result, on_progress)
        except BaseException:  # Ctrl-C
            for line in clean(session, on_progress):
                on_progress(f"still there: {line}; remove it with: smsweep verify --clean")
            raise
        remains = clean(session, on_progress)
        results = _results(plan, session.state)
        is_complete = set(session.state.results) >= {each.check.id for each in plan.checks if _can_run(each)}
        if is_complete and not remains:
            session.state.finished_at = utc_now().isoformat()
        session.state.save()
        return Verification(facts=session.facts, state=session.state, results=results, remains=tuple(remains))


def clean_all(
    options: Options, *, on_progress: Callable[[str], None], workspace: Workspace | None = None
) -> list[str]:
    """Remove what all earlier runs of this workspace left, and stop lost jobs of other runs in the account.

    Returns:
        One line for each thing that still exists.
    """
    workspace = workspace or Workspace()
    remains: list[str] = []
    with exclusive(workspace.dir / FOLDER / LOCK_FILE, _refuse_second):
        name, spec, template, environ = _backend(options, workspace)
        facts = find_facts(name, spec, template, environ, options.instance_type, runs_jobs=False)
        for state in list_runs(workspace.dir):
            if not _is_of_account(state, facts):
                continue
            with closing(Session(state, facts, template_of(template, facts, state.run), environ)) as session:
                remains += clean(session, on_progress)
                if not remains:
                    state.finished_at = state.finished_at or utc_now().isoformat()
                    state.save()
        if name == "sagemaker":
            state = RunState(path=workspace.dir / FOLDER / "none" / STATE_FILE, run="", target={}, started_at="")
            with closing(Session(state, facts, template, environ)) as session:
                for job in stop_lost_jobs(session):
                    on_progress(f"stopped {job}, whose run has no file on this machine")
    return remains


def make_plan(options: Options, session: Session) -> Plan:
    """Return the checks of a run in their order, with the most that each can cost."""
    facts, state = session.facts, session.state
    cap = options.max_usd
    if cap is None:
        cap = 0.0 if facts.is_priced and facts.place == AWS else math.inf
    left = cap - state.total_usd
    planned = []
    for check in ordered(_chosen(options.only), facts):
        if state.results.get(check.id, {}).get("verdict", UNKNOWN) != UNKNOWN:
            continue
        worst = check.worst_usd(facts)
        reason = _reason(check, facts, options)
        if not reason and worst > left:
            planned.append(Planned(check=check, worst_usd=worst, reason=_over_cap(worst, left), is_over_cap=True))
        else:
            planned.append(Planned(check=check, worst_usd=worst, reason=reason))
    return Plan(
        facts=facts,
        max_usd=cap,
        spent_usd=state.total_usd,
        checks=tuple(planned),
        run=state.run,
        is_continued=bool(state.results or state.spent),
    )


def ordered(checks: Sequence[Assumption], facts: Facts) -> list[Assumption]:
    """Return the checks of a backend, cheapest first."""
    mine = [check for check in checks if facts.backend in check.backends]
    return sorted(mine, key=lambda check: (check.is_late, check.usual_s, check.worst_s(facts)))


def _chosen(only: Sequence[str]) -> list[Assumption]:
    unknown = set(only) - {check.id for check in CHECKS}
    if unknown:
        known = ", ".join(sorted(check.id for check in CHECKS))
        raise UsageError(f"--only: no check {', '.join(sorted(unknown))}; use one of {known}")
    return [check for check in CHECKS if not only or check.id in only]


def _reason(check: Assumption, facts: Facts, options: Options) -> str:
    """Return why a check cannot run, whatever the cap; "" if it can."""
    if check.needs_images and not facts.runs_images:
        return "jobs do not run in their image"
    if check.needs_gpus and not GPU_FAMILY.match(facts.instance_type):
        return f"{facts.instance_type} has no GPU; use --instance-type ml.g4dn.xlarge --only {check.id}"
    if check.makes_roles and not options.creates_roles:
        return "needs --create-roles"
    if check.usual_s and facts.quota is not None and facts.quota < check.instances:
        return f"the quota of {facts.instance_type} is {facts.quota:g}; use another --instance-type"
    return ""


def _can_run(planned: Planned) -> bool:
    """Return True if a check runs, or runs with a larger cap."""
    return not planned.reason or planned.is_over_cap


def _over_cap(worst: float, left: float) -> str:
    return f"can cost ${worst:.2f}, and ${max(0.0, left):.2f} of the cap is left"


def _run(
    plan: Plan,
    session: Session,
    on_result: Callable[[Assumption, Result], None],
    on_progress: Callable[[str], None],
) -> None:
    """Run the checks of a plan, several at once. Late checks run alone, after all others."""
    quota = session.facts.quota
    at_once = AT_ONCE if quota is None else max(1, min(AT_ONCE, int(quota)))
    checks = [planned for planned in plan.checks if not planned.reason or planned.is_over_cap]
    with ThreadPoolExecutor(at_once) as pool, ExitStack() as stack:
        free = [session.child() for _ in range(at_once)]
        for child in free:
            stack.callback(child.close)
        try:
            for is_late, n in ((False, at_once), (True, 1)):
                wanted = deque(planned for planned in checks if planned.check.is_late is is_late)
                _run_all(wanted, plan.max_usd, pool, free[:n], on_result, on_progress)
        except BaseException:  # Ctrl-C: the checks must not start jobs during the cleanup
            session.interrupt()
            pool.shutdown(cancel_futures=True)
            raise


def _run_all(
    checks: deque[Planned],
    max_usd: float,
    pool: ThreadPoolExecutor,
    free: list[Session],
    on_result: Callable[[Assumption, Result], None],
    on_progress: Callable[[str], None],
) -> None:
    """Run checks in free sessions, within the cap. An ended check can cost less than its worst case."""
    state = free[0].state
    running: dict[Future[tuple[Result, float]], tuple[Planned, Session]] = {}
    while checks or running:
        while checks and free:
            check, worst = checks[0].check, checks[0].worst_usd
            left = max_usd - state.total_usd
            if worst > left and running:
                break
            planned = checks.popleft()
            if worst > left:
                on_result(check, Result(id=check.id, verdict=SKIPPED, reason=_over_cap(worst, left)))
                continue
            on_progress(f"{check.id}: {check.calls}")
            state.reserve(check.id, worst)
            session = free.pop()
            running[pool.submit(_check, planned, session)] = planned, session
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            planned, session = running.pop(future)
            result, usd = future.result()
            free.append(session)
            check = planned.check
            result = replace(result, usd=state.settle(check.id, planned.worst_usd, usd))
            state.note_result(check.id, asdict(result))
            on_result(check, result)


def _check(planned: Planned, session: Session) -> tuple[Result, float]:
    """Run a check in a thread. Return its masked result, and its cost in dollars."""
    session.jobs.clear()
    result = _masked(_observe(planned.check, session), session)
    return result, _end_jobs(session, planned.worst_usd)


def _observe(check: Assumption, session: Session) -> Result:
    try:
        return judge(check, check.observe(session), session.facts)
    except SmsweepError as err:
        log.debug("check %s has no result", check.id, exc_info=True)
        return Result(id=check.id, verdict=UNKNOWN, reason=str(err))
    except Exception as err:  # an unexpected answer of a backend must not end the other checks
        log.debug("check %s has no result", check.id, exc_info=True)
        return Result(id=check.id, verdict=UNKNOWN, reason=f"{type(err).__name__}: {err}")


def _masked(result: Result, session: Session) -> Result:
    mask = Mask(session)
    return replace(result, observed=mask.data(result.observed), reason=mask.text(result.reason))


def _end_jobs(session: Session, worst: float) -> float:
    """Stop the jobs of a check, and return what they cost in dollars; the worst case if that is unknown."""
    if session.is_over:
        return worst  # the cleanup stops them
    billed: list[float | None] = []
    for name in session.jobs:
        try:
            status = session.end(name)
            billed.append(0.0 if status is None else session.billed_s(status))
        except Exception as err:  # noqa: BLE001 - the other jobs must be stopped all the same
            if not session.is_over:
                log.warning("%s: may still run, until its limit: %s", name, err)
            billed.append(None)
    if None in billed:
        return worst
    return min(session.facts.usd(sum(filter(None, billed))), worst)


def _results(plan: Plan, state: RunState) -> tuple[Result, ...]:
    """Return the results of this run and of what it continues, in the order of the checks."""
    reasons = {planned.check.id: planned.reason for planned in plan.checks}
    results = []
    for check in ordered(CHECKS, plan.facts):
        if check.id in state.results:
            stored = state.results[check.id]
            results.append(Result(**{**stored, "differences": tuple(stored["differences"])}))
        elif check.id in reasons:
            reason = reasons[check.id] or _over_cap(check.worst_usd(plan.facts), plan.max_usd - state.total_usd)
            results.append(Result(id=check.id, verdict=SKIPPED, reason=reason))
    return tuple(results)


@contextmanager
def _opened(options: Options, workspace: Workspace) -> Iterator[Session]:
    """Yield a session in a new run, or in the last one if it is not complete."""
    with ExitStack() as stack:
        workspace.make()
        stack.enter_context(exclusive(workspace.dir / FOLDER / LOCK_FILE, _refuse_second))
        if options.against_emulator:
            workspace, options = stack.enter_context(_emulated(options, workspace))
        name, spec, template, environ = _backend(options, workspace)
        facts = find_facts(name, spec, template, environ, options.instance_type)
        state = _state(workspace, facts, is_new=options.is_new)
        shared = {RATES: environ.get(RATES) or SHARED_RATES} if facts.place == AWS else {}
        session = Session(state, facts, template_of(template, facts, state.run), {**environ, **shared})
        stack.callback(session.close)
        if name == "sagemaker" and facts.place == AWS:
            others = sorted({run for _, run in find_live_jobs(session)} - {state.run})
            if others:
                raise UsageError(
                    f"runs {', '.join(others)} have live jobs in this account; wait for them, or stop them with "
                    "smsweep verify --clean"
                )
        yield session


def _refuse_second() -> None:
    raise UsageError("another `smsweep verify` runs in this workspace; wait for it, or use another --dir")


@contextmanager
def _emulated(options: Options, workspace: Workspace) -> Iterator[tuple[Workspace, Options]]:
    """Start the emulator, as `smsweep emulator` does. Yield a workspace and options that use it."""
    from smsweep.services.emulator import run_emulator  # moto is an extra, and slow to import

    if backend_spec(backend_name(options.backend, workspace)).ask_price is None:
        raise UsageError("--against emulator: needs a backend that the emulator serves; use sagemaker or batch")
    for stale in (workspace.dir / FOLDER).glob(f"{OWN_EMULATOR}*"):  # of a killed run, whose emulator has ended
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=workspace.dir / FOLDER, prefix=OWN_EMULATOR) as folder:
        # The run has its own workspace, because nothing of it outlives its emulator.
        environ = {**workspace.environ, "SMSWEEP_DIR": folder}
        with run_emulator(folder=Path(folder) / "emulator", quota=EMULATOR_QUOTA, environ=environ) as opened:
            outer = {name: value for name, value in environ.items() if not name.startswith("AWS_")}
            queue = {BATCH_QUEUE: environ.get(BATCH_QUEUE) or "smsweep-verify"}
            inner = Workspace({**outer, **EMULATOR_SETTINGS, **queue, **opened.environ})
            from smsweep.aws.client import Aws

            with closing(Aws(inner.environ)) as aws:
                aws.translated("s3", "create_bucket", Bucket=EMULATOR_BUCKET)
            yield inner, replace(options, job=options.job or EMULATOR_JOB)


def _backend(options: Options, workspace: Workspace) -> tuple[str, BackendSpec, JobTemplate, dict[str, str]]:
    name = backend_name(options.backend, workspace)
    spec = backend_spec(name)
    template = load_job(options.job).template
    if spec.ask_price is not None:
        if "RoleArn" not in template.request:
            raise UsageError(
                f"--backend {name}: its jobs need a role; give --job job.yaml with "
                "role: arn:aws:iam::ACCOUNT:role/NAME"
            )
        if not template.framework and "TrainingImage" not in template.request.get("AlgorithmSpecification", {}):
            template = replace(template, framework=DEFAULT_FRAMEWORK)
    return name, spec, template, user_environ(workspace.environ)


def find_facts(
    name: str,
    spec: BackendSpec,
    template: JobTemplate,
    environ: dict[str, str],
    instance_type: str,
    *,
    runs_jobs: bool = True,
) -> Facts:
    """Return the account, the region, the price and the quotas of a run. Every call is free and changes nothing.

    Without `runs_jobs`, price and quotas are unknown.

    Raises:
        UsageError: If the price is unknown, or the role or the bucket is of another account or region.
        JobError: If the account cannot be reached.
    """
    if spec.ask_price is None:
        return Facts(backend=name, place=LOCAL, runs_images=spec.uses_images)
    from smsweep.services.verify.account import find_account  # boto3 is slow to import

    return find_account(name, template, environ, instance_type, runs_jobs=runs_jobs)


def _target(facts: Facts) -> dict[str, str]:
    return {
        "backend": facts.backend,
        "place": facts.place,
        "region": facts.region,
        "account": facts.account,
        "instance_type": facts.instance_type,
    }


def _is_of_account(state: RunState, facts: Facts) -> bool:
    """Return True if what a run left can be removed with the credentials of another run."""
    target = _target(facts)
    return all(state.target.get(name) == target[name] for name in ("backend", "place", "region", "account"))


def _state(workspace: Workspace, facts: Facts, *, is_new: bool) -> RunState:
    """Return the last run against the same target if it is not complete; else a new one."""
    target = _target(facts)
    runs = [run for run in list_runs(workspace.dir) if _is_of_account(run, facts)]
    open_runs = [run for run in runs if run.target == target and not run.finished_at]
    if open_runs and not is_new:
        return open_runs[-1]
    unclean = [run.run for run in runs if any(run.made.values())]
    if unclean:
        raise UsageError(
            f"run {', '.join(unclean)} has not cleaned up; run smsweep verify --clean before you start a new run"
        )
    run = new_run_id()
    path = workspace.dir / FOLDER / run / STATE_FILE
    return RunState(path=path, run=run, target=target, started_at=utc_now().isoformat())


class Mask:
    """Replaces what identifies the account. The run's own names get the same text in every report.

    Args:
        session: Has the names to replace.
    """

    def __init__(self, session: Session) -> None:
        request = session.template.request
        output = request.get("OutputDataConfig", {}).get("S3OutputPath", "")
        bucket = output.removeprefix("s3://").partition("/")[0] if output.startswith("s3://") else ""
        names = {
            str(session.folder): "FOLDER",
            request.get("RoleArn", ""): "ROLE",
            bucket: "BUCKET",
            session.facts.account: "ACCOUNT",
            session.state.run: "RUN",
        }
        self._names = {name: text for name, text in names.items() if name}

    def text(self, text: str) -> str:
        """Return a text without the names."""
        for name, replacement in self._names.items():
            text = text.replace(name, replacement)
        text = ARN.sub(r"\1/NAME", ACCOUNT.sub("ACCOUNT", text))
        text = REQUEST_ID.sub("ID", ACCESS_KEY.sub("KEY", text))
        return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} ..."

    def data(self, value: Any) -> Any:
        """Return plain data with each text masked."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {name: self.data(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return value
