"""Reproduce a trial: run it again from its source snapshot, as the only trial of a new sweep, and compare both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from smsweep.config_files.from_python import to_yaml
from smsweep.config_files.job_yaml import parse_stored_job
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.confirm import is_repeat
from smsweep.core.json_documents import (
    ReproducedMetricDocument,
    ReproductionDocument,
    Verdict,
)
from smsweep.core.repeats import repeat_of
from smsweep.core.sweep import Sweep
from smsweep.core.trial import MetricPoint, Scalar, Trial, TrialState, is_number
from smsweep.engine.agent_state import AgentResult
from smsweep.engine.job_request import REPEAT_VARIABLE
from smsweep.errors import SourceError, UsageError
from smsweep.exports.contents import curve
from smsweep.services.agents.in_place import source_hash_of
from smsweep.services.agents.run_agent import agent
from smsweep.services.backends import DEFAULT_BACKEND, backend_name, check_machine
from smsweep.services.labels import new_sweep_id, parse_trial
from smsweep.services.places import choose_places
from smsweep.services.sweeps.snapshot import origin
from smsweep.services.views.diff import differing_facts
from smsweep.services.views.json_views import flat_params, trial_data
from smsweep.services.workspace import Workspace, find_trial
from smsweep.source.bundle import bundle_path
from smsweep.source.pack import refuse_upload
from smsweep.store import notes
from smsweep.store.base import Store

Points = Sequence[MetricPoint]

EQUAL: Verdict = "equal"
CLOSE: Verdict = "within tolerance"
DIFFERENT: Verdict = "different"
MISSING: Verdict = "missing"
ORDER = (EQUAL, CLOSE, MISSING, DIFFERENT)  # from best to worst

TOLERANCE = 0.01  # relative difference of two values
# Keys of a sweep config that a single trial does not need, and that can require more than one trial.
SEARCH_KEYS = (
    "method",
    "method_options",
    "early_terminate",
    "scheduler",
    "run_cap",
    "metrics",
    "name",
    "description",
)
# Keys of a job.yaml that describe the sweep, not a trial. A repetition runs the recorded source, not in place.
SWEEP_KEYS = ("budget", "confirm", "in_place", "notify", "repeats", "search", "tracking")


def begin(
    label: str, *, backend: str | None = None, again_id: str | None = None, budget: Mapping[str, float] = {}
) -> tuple[str, str]:
    """Create the sweep that repeats a trial, ready for an agent.

    The sweep has the same source snapshot, params, sweep.yaml and job.yaml, without early stopping rules of the
    search.

    Args:
        label: The trial ("ID/N").
        backend: Name of the backend. Default: the backend that ran the trial.
        again_id: Id of the new sweep. Default: a random id.
        budget: Hard limits of the new sweep, as `budget` of job.yaml.

    Returns:
        Id of the new sweep, and the name of the backend to run it on.

    Raises:
        NotFound: If there is no such trial.
        SourceError: If the source snapshot is not on this machine.
        UsageError: If the trial has not ended, ran a Python function, or belongs to a sweep that W&B hosts.
        JobError: If this machine cannot run jobs of the backend now.
    """
    sweep_id, number = parse_trial(label)
    workspace = Workspace()
    with workspace.store() as store:
        trial, sweep = find_trial(store, sweep_id, number), store.get_sweep(sweep_id)
        sweep = replace(sweep, source_hash=source_hash_of(store, trial, sweep))
        _check(workspace, store, trial, sweep)
        place = trial.place.partition("@")[0]
        name = backend_name(backend or place or None, workspace)
        if name != DEFAULT_BACKEND:
            refuse_upload(workspace.bundles_dir, sweep.source_hash)
        again = _sweep(trial, sweep if backend else _at_place(trial, sweep, workspace), budget)
        again = replace(again, id=again_id or again.id)
        check_machine(again.job, name, workspace.environ, pulls=True)
        store.create_sweep(again)
        notes.ORIGIN.put(store, again.id, origin(Path.cwd()))
        notes.REPRODUCES.put(store, again.id, trial.label)
        if folder := notes.SOURCE_FOLDER.get(store, sweep_id):
            notes.SOURCE_FOLDER.put(store, again.id, folder)
        store.add_trials(again.id, 0, [trial.params])
    return again.id, name


def finish(label: str, again_id: str, *, tolerance: float = TOLERANCE) -> ReproductionDocument:
    """Compare a trial with its repetition.

    Args:
        label: The trial ("ID/N").
        again_id: Id of the sweep whose only trial is the repetition.
        tolerance: Maximum relative difference for the verdict "within tolerance".

    Returns:
        `metrics`, each with its verdict: equal, within tolerance, missing (only one trial has the metric) or
        different; the `verdict`, the worst of the sweep's metrics (without such metrics, of all metrics), which is
        also different if the trials ended in different states; the `state` of both; the `facts` that differ; and
        other fields.

    Raises:
        NotFound: If one of the trials does not exist.
    """
    sweep_id, number = parse_trial(label)
    with Workspace().store() as store:
        trials = [find_trial(store, sweep_id, number), find_trial(store, again_id, 0)]
        sweeps = [store.get_sweep(sweep_id), store.get_sweep(again_id)]
        points = [store.read_points(trial.sweep_id, trial.number) for trial in trials]
        facts = differing_facts(store, trials[0], trials[1])
        source_hash = source_hash_of(store, trials[0], sweeps[0])
    data = [trial_data(trial, sweep) for trial, sweep in zip(trials, sweeps, strict=True)]
    is_cut = any(trial.state in (TrialState.STOPPED, TrialState.KILLED, TrialState.CRASHED) for trial in trials)
    metrics = compare(
        (data[0]["metrics"], points[0]), (data[1]["metrics"], points[1]), tolerance, may_be_cut=is_cut
    )
    own = {metric.name for metric in sweeps[0].config.all_metrics}
    judged = [row["verdict"] for row in metrics if not own or row["name"] in own]
    states = [_outcome(trial) for trial in trials]
    return {
        "trial": trials[0].label,
        "again": trials[1].label,
        "verdict": worst([*judged, *([DIFFERENT] if states[0] != states[1] else [])]),
        "tolerance": tolerance,
        "state": {"a": trials[0].state.value, "b": trials[1].state.value},
        "reason": {"a": trials[0].reason, "b": trials[1].reason},
        "params": flat_params(data[0]["params"]),
        "source_hash": source_hash,
        "seed": sweeps[0].seed,
        "metrics": metrics,
        "facts": facts,
    }


def reproduce(
    label: str,
    *,
    backend: str | None = None,
    tolerance: float = TOLERANCE,
    on_change: Callable[[Trial], None] = lambda trial: None,
) -> ReproductionDocument:
    """Run a trial again as the only trial of a new sweep, and compare both trials.

    Args:
        label: The trial ("ID/N").
        backend: Name of the backend. Default: the backend that ran the trial.
        tolerance: Maximum relative difference for the verdict "within tolerance".
        on_change: Called when the state or the metrics of the repetition change.

    Returns:
        The comparison; see `finish`.

    Raises:
        NotFound: If there is no such trial.
        SourceError: If the source snapshot is not on this machine.
        UsageError: If the trial cannot be repeated (see `begin`), or the agent was interrupted.
    """
    again_id, name = begin(label, backend=backend)
    outcome: AgentResult = agent(again_id, backend=name, on_change=on_change)
    if outcome.asked_by:
        raise UsageError(
            f"the repetition was interrupted; continue it with: smsweep agent {again_id} --backend {name}"
        )
    return finish(label, again_id, tolerance=tolerance)


def is_good(reproduction: ReproductionDocument) -> bool:
    """Return True if the trial was reproduced."""
    return reproduction["verdict"] not in (DIFFERENT, MISSING)


def _check(workspace: Workspace, store: Store, trial: Trial, sweep: Sweep) -> None:
    if not trial.state.is_terminal:
        raise UsageError(f"trial {trial.label} is {trial.state.value}; wait until it has ended")
    if notes.WANDB_SWEEP.get(store, sweep.id):
        raise UsageError(
            f"trial {trial.label}: W&B hosts its sweep and chooses the params; reproduce another trial"
        )
    if sweep.job.runs_image:
        return
    if not sweep.source_hash:
        raise UsageError(
            f"trial {trial.label}: ran a Python function, which has no source snapshot; call the function again"
        )
    if not bundle_path(workspace.bundles_dir, sweep.source_hash).is_file():
        raise SourceError(
            f"the source of {trial.label} ({sweep.source_hash[:16]}) is not in {workspace.bundles_dir}; "
            "reproduce it where its sweep was created"
        )


def _at_place(trial: Trial, sweep: Sweep, workspace: Workspace) -> Sweep:
    """Return the sweep with the job of the place where a trial ran, if job.yaml has this place."""
    places = choose_places(sweep.job, workspace) if sweep.job.places else []
    for place in places:
        if place.name == trial.place_name:
            return replace(sweep, job=place.template, job_yaml=to_yaml(place.template.document))
    return sweep


def _sweep(trial: Trial, sweep: Sweep, budget: Mapping[str, float]) -> Sweep:
    kept = {key: value for key, value in sweep.config.document.items() if key not in SEARCH_KEYS}
    if "metric" not in kept and sweep.config.metrics:
        first = sweep.config.metrics[0]
        kept["metric"] = {"name": first.name, "goal": first.goal.value}
    kept.setdefault(
        "parameters", {name: {"value": value} for name, value in trial.params.items()}
    )  # for a search program
    name = f"{sweep.name or sweep.id}-{trial.number} again"
    parsed = parse_sweep({"method": "random", "run_cap": 1, **kept})
    job_yaml = _job_yaml(trial, sweep, budget)
    return replace(
        sweep,
        id=new_sweep_id(),
        state=type(sweep.state).RUNNING,
        config=parsed.config,
        job=parse_stored_job(job_yaml),
        sweep_yaml=parsed.text,
        job_yaml=job_yaml,
        code_hash="",  # a fixed trial needs no search program
        name=name,
        prior_runs=(),
        created_at=datetime.now(timezone.utc),
    )


def _job_yaml(trial: Trial, sweep: Sweep, budget: Mapping[str, float]) -> str:
    """Return the sweep's job.yaml for one trial, with the same repetition index."""
    if not (sweep.job_yaml or budget or is_repeat(trial)):
        return ""
    kept = {key: value for key, value in sweep.job.document.items() if key not in SWEEP_KEYS}
    if budget:
        kept["budget"] = dict(budget)
    job = sweep.job
    if job.repeats > 1 or job.confirm is not None or is_repeat(trial):
        repeat = str(repeat_of(trial, job.repeats))
        kept["environment"] = {**kept.get("environment", {}), REPEAT_VARIABLE: repeat}
    return to_yaml(kept) if kept else ""


def _outcome(trial: Trial) -> str:
    """Return a trial's state for the comparison. A trial that was stopped or killed counts as finished."""
    is_ended = trial.state in (TrialState.STOPPED, TrialState.KILLED)
    return (TrialState.FINISHED if is_ended else trial.state).value


def compare(
    before: tuple[Mapping[str, Scalar], Points],
    after: tuple[Mapping[str, Scalar], Points],
    tolerance: float,
    *,
    may_be_cut: bool,
) -> list[ReproducedMetricDocument]:
    """Compare all metrics of two trials, at their last values and at all steps that both reported.

    Args:
        before: Last value of each metric by name, and all points, of the original trial.
        after: The same of the repetition.
        tolerance: Maximum difference, relative to the larger of two values.
        may_be_cut: One of the trials was stopped early, so missing steps are not a difference.

    Returns:
        For each metric: the last values `a` and `b` (with `may_be_cut`, those at the last common step), the number
        of common `steps`, the `largest` relative difference, and the `verdict`.
    """
    return [
        _compare(name, (before[0].get(name), before[1]), (after[0].get(name), after[1]), tolerance, may_be_cut)
        for name in dict.fromkeys([*before[0], *after[0]])
    ]


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst verdict; "equal" without verdicts."""
    return max(verdicts, key=ORDER.index, default=EQUAL)


def _compare(
    name: str, a: tuple[Scalar, Points], b: tuple[Scalar, Points], tolerance: float, may_be_cut: bool
) -> ReproducedMetricDocument:
    curves = curve(a[1], name), curve(b[1], name)
    steps = [step for step in curves[0] if step in curves[1]]
    values = [(curves[0][step], curves[1][step]) for step in steps]
    is_whole = len(steps) == len(curves[0]) == len(curves[1])
    last = values[-1] if may_be_cut and steps and not is_whole else (a[0], b[0])
    differences = [_difference(x, y) for x, y in (*values, last)]
    known = [difference for difference in differences if difference is not None]
    compared: ReproducedMetricDocument = {
        "name": name,
        "a": last[0],
        "b": last[1],
        "steps": len(steps),
        "verdict": DIFFERENT,
    }
    if None in last and last[0] is not last[1]:
        compared["verdict"] = MISSING
    elif len(known) == len(differences) and (is_whole or may_be_cut):
        largest = compared["largest"] = max(known)
        compared["verdict"] = EQUAL if largest == 0 else CLOSE if largest <= tolerance else DIFFERENT
    return compared


def _difference(a: Scalar, b: Scalar) -> float | None:
    """Return the difference of two values, relative to the larger; None if they are not comparable."""
    if a == b or (a != a and b != b):
        return 0.0
    if not is_number(a) or not is_number(b):
        return None
    x, y = float(a or 0), float(b or 0)
    return abs(x - y) / max(abs(x), abs(y))
