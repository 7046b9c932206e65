"""Run a trial again from its snapshot, as a sweep of its own, and compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from smsweep.config_files.from_python import to_yaml
from smsweep.config_files.job_yaml import parse_stored_job
from smsweep.config_files.sweep_yaml import parse_sweep
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
from smsweep.services.agents.run_agent import agent
from smsweep.services.backends import backend_name
from smsweep.services.labels import new_sweep_id, parse_trial
from smsweep.services.sweeps.snapshot import origin
from smsweep.services.views.diff import differing_facts
from smsweep.services.views.json_views import flat_params, trial_data
from smsweep.services.workspace import Workspace, find_trial
from smsweep.source.bundle import bundle_path
from smsweep.store import notes
from smsweep.store.base import Store

TOLERANCE = 0.01  # relative
# Of a config, what a single given trial has no use for; the search would ask for more than is there.
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
# Of a job.yaml, what is about the sweep around a trial.
SWEEP_KEYS = ("budget", "repeats", "notify")


def begin(label: str, *, backend: str | None = None) -> tuple[str, str]:
    """Create the sweep that repeats a trial, ready for an agent, and return its id and the backend to run it on.

    The same source snapshot, params, sweep.yaml and job.yaml; without what ends trials in view of others.
    backend: the one that ran the trial if None. Raises NotFound, SourceError; UsageError for a trial that has not
    ended, and for one of a Python function or of a sweep that W&B hosts.
    """
    sweep_id, number = parse_trial(label)
    workspace = Workspace()
    with workspace.store() as store:
        trial, sweep = find_trial(store, sweep_id, number), store.get_sweep(sweep_id)
        _check(workspace, store, trial, sweep)
        place = trial.place.partition("@")[0]
        name = backend_name(backend or place or None, workspace)
        again = _sweep(trial, sweep)
        store.create_sweep(again)
        notes.ORIGIN.put(store, again.id, origin(Path.cwd()))
        notes.REPRODUCES.put(store, again.id, trial.label)
        store.add_trials(again.id, 0, [trial.params])
    return again.id, name


def finish(label: str, again_id: str, *, tolerance: float = TOLERANCE) -> ReproductionDocument:
    """Compare a trial with its repetition, the only trial of the sweep again_id.

    `verdict` is the worst of the sweep's own metrics (of all, where it has none): equal, within tolerance, missing
    (one side has no such metric) or different; different as well where the two ended in different states. Beside
    it `metrics` with a verdict each, `state` of both, and `facts` that differ.
    """
    sweep_id, number = parse_trial(label)
    with Workspace().store() as store:
        trials = [find_trial(store, sweep_id, number), find_trial(store, again_id, 0)]
        sweeps = [store.get_sweep(sweep_id), store.get_sweep(again_id)]
        points = [store.read_points(trial.sweep_id, trial.number) for trial in trials]
        facts = differing_facts(store, trials[0], trials[1])
    data = [trial_data(trial, sweep) for trial, sweep in zip(trials, sweeps, strict=True)]
    is_cut = any(trial.state in (TrialState.STOPPED, TrialState.KILLED, TrialState.CRASHED) for trial in trials)
    metrics = compare(
        (data[0]["metrics"], points[0]), (data[1]["metrics"], points[1]), tolerance, may_be_cut=is_cut
    )
    own = {metric.name for metric in sweeps[0].config.all_metrics}
    judged = [found["verdict"] for found in metrics if not own or found["name"] in own]
    states = [_outcome(trial) for trial in trials]
    return {
        "trial": trials[0].label,
        "again": trials[1].label,
        "verdict": worst([*judged, *([DIFFERENT] if states[0] != states[1] else [])]),
        "tolerance": tolerance,
        "state": {"a": trials[0].state.value, "b": trials[1].state.value},
        "reason": {"a": trials[0].reason, "b": trials[1].reason},
        "params": flat_params(data[0]["params"]),
        "source_hash": sweeps[0].source_hash,
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
    """Run a trial again, as a recorded trial of a new sweep, and compare the two: begin, an agent, finish."""
    again_id, name = begin(label, backend=backend)
    outcome: AgentResult = agent(again_id, backend=name, on_change=on_change)
    if outcome.asked_by:
        raise UsageError(f"the repetition was interrupted; go on with: smsweep agent {again_id} --backend {name}")
    return finish(label, again_id, tolerance=tolerance)


def is_good(found: ReproductionDocument) -> bool:
    """Tell whether a trial was reproduced."""
    return found["verdict"] not in (DIFFERENT, MISSING)


def _check(workspace: Workspace, store: Store, trial: Trial, sweep: Sweep) -> None:
    if not trial.state.is_terminal:
        raise UsageError(f"trial {trial.label} is {trial.state.value}; wait until it has ended")
    if notes.WANDB_SWEEP.get(store, sweep.id):
        raise UsageError(f"trial {trial.label} is of a sweep that W&B hosts, whose params its server chooses")
    if not sweep.source_hash:
        raise UsageError(f"trial {trial.label} called a Python function, of which there is no snapshot")
    if not bundle_path(workspace.bundles_dir, sweep.source_hash).is_file():
        raise SourceError(
            f"the source of {trial.label} ({sweep.source_hash[:16]}) is not in {workspace.bundles_dir}; "
            "reproduce it where its sweep was created"
        )


def _sweep(trial: Trial, sweep: Sweep) -> Sweep:
    kept = {key: value for key, value in sweep.config.document.items() if key not in SEARCH_KEYS}
    if "metric" not in kept and sweep.config.metrics:
        first = sweep.config.metrics[0]
        kept["metric"] = {"name": first.name, "goal": first.goal.value}
    kept.setdefault("parameters", {name: {"value": value} for name, value in trial.params.items()})  # of a program
    name = f"{sweep.name or sweep.id}-{trial.number} again"
    parsed = parse_sweep({"method": "random", "run_cap": 1, **kept})
    job_yaml = _job_yaml(trial, sweep)
    return replace(
        sweep,
        id=new_sweep_id(),
        state=type(sweep.state).RUNNING,
        config=parsed.config,
        job=parse_stored_job(job_yaml),
        sweep_yaml=parsed.text,
        job_yaml=job_yaml,
        code_hash="",  # a given trial needs no search
        name=name,
        prior_runs=(),
        created_at=datetime.now(timezone.utc),
    )


def _job_yaml(trial: Trial, sweep: Sweep) -> str:
    """Return the sweep's job.yaml for this one trial, which stays the repetition that it was."""
    if not sweep.job_yaml:
        return ""
    kept = {key: value for key, value in sweep.job.document.items() if key not in SWEEP_KEYS}
    repeats = sweep.job.repeats
    if repeats > 1:
        repeat = str(repeat_of(trial.number, repeats))
        kept["environment"] = {**kept.get("environment", {}), REPEAT_VARIABLE: repeat}
    return to_yaml(kept) if kept else ""


def _outcome(trial: Trial) -> str:
    """Return a trial's state as far as its script decides it: one that was ended might have finished."""
    is_ended = trial.state in (TrialState.STOPPED, TrialState.KILLED)
    return (TrialState.FINISHED if is_ended else trial.state).value


EQUAL: Verdict = "equal"
CLOSE: Verdict = "within tolerance"
DIFFERENT: Verdict = "different"
MISSING: Verdict = "missing"


ORDER = (EQUAL, CLOSE, MISSING, DIFFERENT)  # the worst last


Points = Sequence[MetricPoint]


def compare(
    before: tuple[Mapping[str, Scalar], Points],
    after: tuple[Mapping[str, Scalar], Points],
    tolerance: float,
    *,
    may_be_cut: bool,
) -> list[ReproducedMetricDocument]:
    """Return for each metric that either reported its last values `a` and `b` and a `verdict`.

    before, after: last values by name, and all points. Where both reported a metric step by step, all steps that
    both have are compared; `steps` is their number, `largest` the largest relative difference. may_be_cut: one of
    them was ended from outside; they are compared up to there, `a` and `b` are then the values at the last common
    step. Otherwise other steps are a difference. tolerance: relative to the larger of two values.
    """
    return [
        _compare(name, (before[0].get(name), before[1]), (after[0].get(name), after[1]), tolerance, may_be_cut)
        for name in dict.fromkeys([*before[0], *after[0]])
    ]


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst of the verdicts; equal where there is none."""
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
    found: ReproducedMetricDocument = {
        "name": name,
        "a": last[0],
        "b": last[1],
        "steps": len(steps),
        "verdict": DIFFERENT,
    }
    if None in last and last[0] is not last[1]:
        found["verdict"] = MISSING
    elif len(known) == len(differences) and (is_whole or may_be_cut):
        largest = found["largest"] = max(known)
        found["verdict"] = EQUAL if largest == 0 else CLOSE if largest <= tolerance else DIFFERENT
    return found


def _difference(a: Scalar, b: Scalar) -> float | None:
    """Return how far two values are apart, relative to the larger; None where that cannot be said."""
    if a == b or (a != a and b != b):
        return 0.0
    if not is_number(a) or not is_number(b):
        return None
    x, y = float(a or 0), float(b or 0)
    return abs(x - y) / max(abs(x), abs(y))
