"""Sweeps and trials as JSON documents, for `--json`, the web API, tables and exports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, cast

from smsweep.core.agent_record import AgentRecord
from smsweep.core.budget import worst_instance_s
from smsweep.core.condition import violated
from smsweep.core.failure_kind import shared_reason as shared_reason
from smsweep.core.job import image_of
from smsweep.core.json_documents import (
    AmountsDocument,
    BestTrialDocument,
    DetachedAgentDocument,
    FrontTrialDocument,
    FunctionDocument,
    ListedSweepDocument,
    MetricDocument,
    PlaceUseDocument,
    PriceDocument,
    Row,
    ShownTrialDocument,
    SweepDocument,
    SweepFields,
    SweepUsageDocument,
    TrialDocument,
    TrialFields,
    TrialUsageDocument,
)
from smsweep.core.objective import last_value, objective
from smsweep.core.repeats import Best, find_best, find_front
from smsweep.core.sweep import Metric, Sweep, SweepState
from smsweep.core.trial import Trial, TrialState
from smsweep.core.trial import flat_params as flat_params
from smsweep.engine.wait_reason import read_wait_reason
from smsweep.exports.contents import json_safe as json_safe
from smsweep.remote.record import read_records
from smsweep.search.registry import expected_trial_count
from smsweep.services.agent_ids import is_gone
from smsweep.services.agents.records import is_working
from smsweep.services.backends import known_price
from smsweep.services.labels import parse_sweep_id, parse_trial
from smsweep.services.sweeps.change import revision_data
from smsweep.services.sweeps.load import needs_program
from smsweep.services.workspace import Workspace, find_trial
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.util.clock import utc_now
from smsweep.wandb_compat.runs_table import metrics_of, params_of, usage_of

FAILURES = (TrialState.FAILED, TrialState.CRASHED)
OPEN = (SweepState.RUNNING, SweepState.PAUSED)  # states in which trials can start, now or after a resume


def show(sweep_id: str) -> SweepDocument:
    """Return the document of a sweep, including its detached agent. Raises NotFound."""
    workspace = Workspace()
    with workspace.store() as store:
        sweep = store.get_sweep(parse_sweep_id(sweep_id))
        record = read_records(workspace.dir).get(sweep.id)
        agent = None
        if record:
            from smsweep.remote.agent_jobs import agent_data  # boto3 is slow to import

            agent = agent_data(record, store, workspace.environ)
        return show_data(store, sweep, store.list_trials(sweep.id), agent)


def show_data(
    store: Store, sweep: Sweep, trials: Collection[Trial], agent: DetachedAgentDocument | None = None
) -> SweepDocument:
    """Return the document of a sweep.

    Args:
        store: The store of the sweep.
        sweep: The sweep.
        trials: All trials of the sweep that were not removed.
        agent: Its detached agent, if any.
    """
    counts = Counter(trial.state.value for trial in trials)
    waiting = {trial.number: read_wait_reason(store, trial) for trial in trials}
    constraints = sweep.job.search.outcome_constraints
    best = find_best(trials, sweep.config.metric, sweep.job.repeats, constraints) if sweep.config.metric else None
    metrics = sweep.config.metrics
    front = find_front(trials, metrics, sweep.job.repeats, constraints) if metrics else []
    working = working_agents(sweep, store.list_agents(sweep.id), holders(trials))
    reasons = Counter(first_reason(trial) for trial in trials if trial.state in FAILURES)
    return {
        **sweep_data(sweep, len(trials)),
        "trials": dict(sorted(counts.items())),
        "has_agent": agent is not None or bool(working),
        "n_agents": len(working),
        "function": function_data(store, sweep),
        "best": best_data(best, sweep) if best else None,
        "front": [member.trial.number for member in front],  # for several metrics
        "outlook": notes.OUTLOOK.get(store, sweep.id),
        "notes": notes.USER_NOTES.get(store, sweep.id),
        "usage": usage_data(trials, sweep, notes.PRICE.get(store, sweep.id), worst_cases(store, trials)),
        "agent": agent,
        "waiting": [
            {"number": number, **wait_reason} for number, wait_reason in sorted(waiting.items()) if wait_reason
        ],
        "places": places_of(trials),
        "failures": [{"reason": reason, "trials": n} for reason, n in reasons.most_common()],
        "revisions": [revision_data(revision) for revision in store.list_revisions(sweep.id)],
    }


def function_data(store: Store, sweep: Sweep) -> FunctionDocument | None:
    """Return the function of a sweep without a program; None for a sweep with a program."""
    if not needs_program(sweep.config, sweep.job):
        return None
    sent = notes.FUNCTION.get(store, sweep.id)
    return {"name": sent.get("name", ""), "python": sent.get("python", "")}


def places_of(trials: Collection[Trial]) -> list[PlaceUseDocument]:
    """Return the number and the cost of the trials at each named place, in the order of the first trial."""
    by_place: dict[tuple[str, str], list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.place_name and trial.state is not TrialState.PENDING:
            by_place.setdefault((trial.place_name, trial.place), []).append(trial)
    costs = {
        key: [trial.usage["usd"] for trial in found if "usd" in trial.usage] for key, found in by_place.items()
    }
    return [
        {
            "name": name,
            "place": place,
            "active": sum(trial.state.is_active for trial in found),
            "ended": sum(trial.state.is_terminal for trial in found),
            "usd": round(sum(costs[name, place]), 6) if costs[name, place] else None,
        }
        for (name, place), found in by_place.items()
    ]


def working_agents(sweep: Sweep, agents: Iterable[AgentRecord], holder_ids: Iterable[str]) -> set[str]:
    """Return the ids of the agents that work on a sweep that is not over.

    Args:
        sweep: The sweep.
        agents: Its recorded agents.
        holder_ids: Ids of agents that hold its trials.
    """
    if sweep.state not in OPEN:
        return set()
    known = {agent.id for agent in agents if is_working(agent)}
    return known | {agent_id for agent_id in holder_ids if not is_gone(agent_id)}


def agents_by_sweep(store: Store) -> dict[str, list[AgentRecord]]:
    """Return all recorded agents, by the id of their sweep."""
    agents: dict[str, list[AgentRecord]] = {}
    for agent in store.list_agents():
        agents.setdefault(agent.sweep_id, []).append(agent)
    return agents


def holders(trials: Iterable[Trial]) -> set[str]:
    """Return the ids of the agents that hold active trials, without those that did not renew their lease."""
    now = utc_now()
    held = [trial for trial in trials if trial.state.is_active and trial.lease_expires_at]
    return {trial.agent_id for trial in held if trial.lease_expires_at and trial.lease_expires_at > now}


def first_reason(trial: Trial) -> str:
    """Return the first line of a failure reason, in the form in which equal reasons can be counted."""
    return shared_reason(trial.reason.partition("\n")[0]) or "no reason given"


def front(sweep_id: str) -> list[FrontTrialDocument]:
    """Return the Pareto front of a sweep with several metrics, by ascending number.

    Each trial has its metrics as `outcome`. If params are repeated, the `outcome` is the mean over the
    repetitions, each combination has one trial, and `repeats` lists the numbers of all its trials.
    """
    with Workspace().store() as store:
        sweep = store.get_sweep(parse_sweep_id(sweep_id))
        trials = store.list_trials(sweep.id)
    metrics = sweep.config.metrics
    documents = []
    for member in find_front(trials, metrics, sweep.job.repeats, sweep.job.search.outcome_constraints):
        outcome = {metric.name: last_value(member.seen, metric.name) for metric in metrics}
        document = cast(FrontTrialDocument, {**trial_data(member.trial, sweep), "outcome": outcome})
        if member.repeats:
            document["repeats"] = [trial.number for trial in member.repeats]
        documents.append(document)
    return documents


def list_sweeps() -> list[ListedSweepDocument]:
    """Return all sweeps, newest first, with the number of trials in each state."""
    workspace = Workspace()
    if not workspace.has_store:
        return []
    detached = read_records(workspace.dir)
    with workspace.store() as store:
        agents = agents_by_sweep(store)
        listed: list[ListedSweepDocument] = []
        for sweep in store.list_sweeps():
            working = working_agents(sweep, agents.get(sweep.id, ()), store.holders(sweep.id))
            counts = sorted(store.count_trials(sweep.id).items())
            listed.append(
                {
                    **sweep_data(sweep, sum(n for _, n in counts)),
                    "trials": {state.value: count for state, count in counts},
                    "has_agent": sweep.id in detached or bool(working),
                    "n_agents": len(working),
                }
            )
        return listed


def list_trials(sweep_id: str) -> list[TrialDocument]:
    """Return a sweep's trials by ascending number."""
    with Workspace().store() as store:
        sweep = store.get_sweep(parse_sweep_id(sweep_id))
        trials = store.list_trials(sweep.id)
    return [trial_data(trial, sweep) for trial in sorted(trials, key=lambda trial: trial.number)]


def show_trial(label: str) -> ShownTrialDocument:
    """Return the document of a trial ("ID/N"). Raises NotFound."""
    sweep_id, number = parse_trial(label)
    with Workspace().store() as store:
        trial = find_trial(store, sweep_id, number)
        return {
            **trial_data(trial, store.get_sweep(sweep_id)),
            "waiting": read_wait_reason(store, trial),
            "pruned_at": notes.pruned_at(store, trial),
        }


def sweep_data(sweep: Sweep, n_trials: int = 0) -> SweepFields:
    """Return the fields of a sweep that do not depend on the content of its trials.

    Args:
        sweep: The sweep.
        n_trials: Number of its trials. After a change of the config, it can exceed the number of trials that the
            sweep has with the new config.
    """
    metric = sweep.config.metric
    expected = expected_trial_count(sweep.config, sweep.job)
    return {
        "id": sweep.id,
        "name": sweep.name,
        "state": sweep.state.value,
        "method": sweep.config.method,
        "metrics": [metric_data(each) for each in sweep.config.metrics],
        "metric": metric_data(metric) if metric else None,
        "expected_trial_count": None if expected is None else max(expected, n_trials),
        "run_cap": sweep.config.run_cap,
        "program": sweep.config.program,
        "image": image_of(sweep.job) if sweep.job.runs_image else "",
        "project": sweep.project,
        "entity": sweep.entity,
        "seed": sweep.seed,
        "source_hash": sweep.source_hash,
        "outcome_constraints": list(sweep.job.search.outcome_constraints),
        "created_at": _time(sweep.created_at),
    }


def metric_data(metric: Metric) -> MetricDocument:
    """Return a metric as data."""
    return {"name": metric.name, "goal": metric.goal.value, "target": metric.target}


def worst_cases(store: Store, trials: Collection[Trial]) -> dict[str, Mapping[str, float]]:
    """Return the worst case of one trial at each named place that has active trials, by `Budget.what`."""
    named = {(trial.place_name, trial.sweep_id) for trial in trials if trial.place_name and trial.state.is_active}
    return {name: notes.worst_case_at(name).get(store, sweep_id) for name, sweep_id in named}


def usage_data(
    trials: Collection[Trial],
    sweep: Sweep,
    price: PriceDocument | None,
    worst_at: Mapping[str, Mapping[str, float]] = {},
) -> SweepUsageDocument:
    """Return the usage and the budget of a sweep.

    Args:
        trials: All trials of the sweep.
        sweep: The sweep.
        price: The stored price, if AWS was asked for it.
        worst_at: Name of a place -> worst case of one trial there, as `worst_cases` returns it.

    Returns:
        `jobs`, instance `hours` and `usd` (null without a price) of the jobs that have ended; the `budget`; the
        part of the budget that is `set_aside` for active trials; and the `price`.
    """
    template = known_price(sweep.job, price)
    default_s = worst_instance_s(template)
    active = [worst_at.get(trial.place_name, {}) for trial in trials if trial.state.is_active]
    worst = {"hours": round(sum(each.get("instance_s", default_s) for each in active) / 3600, 6)}
    if template.price is not None:
        default_usd = default_s * template.price.per_hour / 3600
        worst["usd"] = round(sum(each.get("usd", default_usd) for each in active), 6)
    used = [trial.usage for trial in trials]
    priced = [usage["usd"] for usage in used if "usd" in usage]
    return {
        "jobs": sum(usage.get("n_jobs", 0) for usage in used),
        "hours": round(sum(usage.get("instance_s", 0.0) for usage in used) / 3600, 6),
        "usd": round(sum(priced), 6) if priced else None,
        "budget": cast(AmountsDocument, dict(template.budget)),
        "set_aside": cast(AmountsDocument, {name: worst[name] for name in worst if name in template.budget}),
        "price": price,
    }


def trial_data(trial: Trial, sweep: Sweep) -> TrialDocument:
    """Return the document of a trial."""
    metric = sweep.config.metric
    return {
        "number": trial.number,
        "state": trial.state.value,
        "params": dict(params_of(trial)),
        "metrics": metrics_of(trial),
        "objective": objective(trial, metric) if metric else None,
        "attempt": trial.attempt,
        "reason": trial.reason,
        "exit_code": trial.exit_code,
        "job_name": trial.job_name,
        "place": trial.place,
        "place_name": trial.place_name,
        "retries": dict(trial.retries),
        "usage": cast(TrialUsageDocument, usage_of(trial)),
        "infeasible": "; ".join(violated(trial, sweep.job.search.outcome_constraints)),
        "confirms": trial.confirms,
        "repeat": trial.repeat,
        "created_at": _time(trial.created_at),
        "started_at": _time(trial.started_at),
        "ended_at": _time(trial.ended_at),
    }


def best_data(best: Best, sweep: Sweep) -> BestTrialDocument:
    """Return the document of the best trial, with `repeats` if its params were tried several times."""
    data = cast(BestTrialDocument, trial_data(best.trial, sweep))
    if best.repeats:
        repeats = [trial_data(trial, sweep) for trial in best.repeats]
        data["repeats"] = {
            "mean": best.objective,
            "interval": list(best.interval) if best.interval else None,
            "n_values": best.n_values,
            "trials": [trial["number"] for trial in repeats],
            "objectives": [trial["objective"] for trial in repeats],
        }
    return data


FIELDS = (  # fields of a trial that are single values
    *("number", "state", "objective", "attempt", "reason", "exit_code", "job_name", "place", "place_name"),
    *("infeasible", "confirms", "repeat", "created_at", "started_at", "ended_at"),
)


def table(trials: Iterable[TrialFields]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the columns and the flat rows of an export. See `table_row`."""
    rows = [table_row(trial) for trial in trials]
    columns = list(dict.fromkeys((*FIELDS, *(name for row in rows for name in row))))
    groups = ("params.", "metrics.", "retries.", "usage.")
    columns.sort(key=lambda name: next((i + 1 for i, group in enumerate(groups) if name.startswith(group)), 0))
    return columns, rows


def table_row(trial: TrialFields) -> dict[str, Any]:
    """Return a trial as a flat row: its fields, then `params.*`, `metrics.*`, `retries.*` and `usage.*`."""
    values: Row = trial
    row = {name: values[name] for name in FIELDS}
    row |= {f"params.{name}": value for name, value in flat_params(trial["params"]).items()}
    for group in ("metrics", "retries", "usage"):
        row |= {f"{group}.{name}": value for name, value in values[group].items()}
    return row


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
