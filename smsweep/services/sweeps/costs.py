"""What the jobs of a sweep run on and what they can cost, before the first job starts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import Any, cast

from smsweep.aws.image_uris import machines
from smsweep.aws.options import emulator_url
from smsweep.backends.registry import backend_spec
from smsweep.core.budget import max_run_s, worst_instance_s
from smsweep.core.job import JobTemplate, Price, instance_count, with_search_of
from smsweep.core.json_documents import (
    AmountsDocument,
    EstimateDocument,
    InstancesDocument,
    LaunchDocument,
    PlannedPlaceDocument,
    SourceSizeDocument,
)
from smsweep.core.sweep import Sweep, SweepState
from smsweep.core.trial import Trial, TrialState
from smsweep.errors import SmsweepError
from smsweep.search.registry import expected_trial_count
from smsweep.services.labels import parse_sweep_id
from smsweep.services.places import ChosenPlace, choose_places
from smsweep.services.sweeps.load import JobLike, SweepLike, load_job, load_sweep, origin_of
from smsweep.services.sweeps.plan import NO_ID
from smsweep.services.sweeps.search_program import placed
from smsweep.services.sweeps.snapshot import source_size
from smsweep.services.workspace import Workspace
from smsweep.source.bundle import bundle_path
from smsweep.source.pack import refuse_upload
from smsweep.store.base import Store

MAX_SWEEPS = 20  # earlier sweeps of a group that the estimate reads, newest first


def launch_of_config(
    config: SweepLike,
    *,
    job: JobLike = None,
    backend: str | None = None,
    on: Sequence[str] = (),
    count: int | None = None,
    parallel: int | str = 1,
) -> LaunchDocument | None:
    """Return what the jobs of a new sweep run on and cost; None for a free backend.

    Args:
        config: The sweep config.
        job: Path or content of a job.yaml.
        backend: Name of the backend. Default: `SMSWEEP_BACKEND`, then "process".
        on: Places, as for `agent`. The document describes the most expensive one, and lists all.
        count: Maximum number of trials to start. Default: no limit.
        parallel: Number of trials that run in parallel.

    Raises:
        ConfigError: If a config is invalid.
        JobError: If the backend cannot run the jobs.
    """
    workspace = Workspace()
    parsed_job = load_job(job)
    places = choose_places(parsed_job.template, workspace, on=on, backend=backend, parallel=parallel)
    if not any(map(_has_price, places)):
        return None
    parsed = placed(load_sweep(config), parsed_job, origin_of(config))
    sweep = Sweep(id=NO_ID, config=parsed.config, job=parsed_job.template)
    source = source_size(workspace, parsed, parsed_job, config)
    return _launch(workspace, sweep, parsed_job.template, places, [], source, count)


def launch_of_sweep(
    sweep_id: str,
    *,
    job: JobLike = None,
    backend: str | None = None,
    on: Sequence[str] = (),
    count: int | None = None,
    parallel: int | str = 1,
) -> LaunchDocument | None:
    """Return what the next jobs of an existing sweep run on and cost; None for a free backend.

    Args:
        sweep_id: Id of the sweep.
        job: Path or content of a job.yaml. Default: the sweep's own.
        backend: As for `launch_of_config`; `on`, `count` and `parallel` too.

    Raises:
        NotFound: If there is no such sweep.
        ConfigError: If a config is invalid.
        SourceError: If the source contains a secret.
        JobError: If the backend cannot run the jobs.
    """
    workspace = Workspace()
    with workspace.store(read_only=True) as store:
        sweep = store.get_sweep(parse_sweep_id(sweep_id))
        trials = store.list_trials(sweep.id)
    template = with_search_of(load_job(job).template, sweep.job) if job else sweep.job
    places = choose_places(template, workspace, on=on, backend=backend, parallel=parallel)
    if not any(map(_has_price, places)):
        return None
    refuse_upload(workspace.bundles_dir, sweep.source_hash)
    bundle = bundle_path(workspace.bundles_dir, sweep.source_hash) if sweep.source_hash else None
    source: SourceSizeDocument | None = None
    if bundle is not None and bundle.exists():
        source = {"files": None, "bytes": bundle.stat().st_size}
    return _launch(workspace, sweep, template, places, trials, source, count)


def needs_consent(
    sweep_id: str, backend: str | None, *, on: Sequence[str] = (), job: JobLike = None, parallel: int | str = 1
) -> bool:
    """Return True if the next job of a sweep is its first, and can cost money. Raises NotFound."""
    workspace = Workspace()
    if emulator_url(workspace.environ):
        return False
    with workspace.store(read_only=True) as store:
        sweep = store.get_sweep(parse_sweep_id(sweep_id))
        if sweep.state is SweepState.FINISHED:  # an agent exits immediately
            return False
        template = load_job(job).template if job else sweep.job
        places = choose_places(template, workspace, on=on, backend=backend, parallel=parallel)
        if not any(map(_has_price, places)):
            return False
        paid = {place.backend for place in places if _has_price(place)}
        trials = store.list_trials(sweep.id)
        return not any(trial.job_name and trial.place.partition("@")[0] in paid for trial in trials)


def _has_price(place: ChosenPlace) -> bool:
    """Return True if the jobs of a place cost money."""
    return backend_spec(place.backend).ask_price is not None


def _launch(
    workspace: Workspace,
    sweep: Sweep,
    whole: JobTemplate,
    places: Sequence[ChosenPlace],
    trials: Sequence[Trial],
    source: SourceSizeDocument | None,
    count: int | None,
) -> LaunchDocument:
    unknown = dict[str, str]()
    priced = [(place, _price(place.template, place.backend, place.workspace, unknown)) for place in places]
    most_expensive = max(filter(lambda item: _has_price(item[0]), priced), key=_worst_usd)
    place, price = most_expensive
    template, name, environ = place.template, place.backend, place.workspace.environ
    spec, assets = backend_spec(name), workspace.assets_path("")
    complete, _ = spec.prepare(template, assets, workspace.dir, environ, upload=False)
    request = complete.request
    facts = spec.ask_account(complete, environ) if spec.ask_account else None
    unknown |= facts.unknown if facts else {}
    limits = [expected_trial_count(sweep.config, whole), template.budget.get("trials")]
    started = sum(trial.state is not TrialState.PENDING for trial in trials)
    remaining = [max(0, int(limit) - started) for limit in limits if limit is not None]
    n_trials = min([*remaining, *([] if count is None else [count])], default=None)
    hours, usd = worst_case(template, price, n_trials, trials)
    if hours is None and usd is None:
        unknown["worst_case"] = "the sweep has no end; set run_cap in sweep.yaml, or budget in job.yaml"
    elif usd is None:
        unknown["worst_case"] = "the price is unknown"
    estimate = _estimate(workspace, sweep, template, price, n_trials, unknown)
    is_spot = bool(request.get("EnableManagedSpotTraining"))
    limit_s = request.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds") if is_spot else None
    return {
        "backend": name,
        "endpoint": facts.endpoint if facts else "",
        "region": facts.region if facts else "",
        "account": facts.account or None if facts else None,
        "role": str(request.get("RoleArn", "")),
        "image": str(request.get("AlgorithmSpecification", {}).get("TrainingImage", "")),
        "instances": _instances(template),
        "is_spot": is_spot,
        "source": source,
        "max_run_s": max_run_s(template),
        "max_wait_s": limit_s,
        "parallel": sum({each.group or each.name: each.slots for each in places}.values()),
        "trials": n_trials,
        "price_per_hour": price.per_hour if price else None,
        "price_from": (None if price is None else "aws" if template.asks_price else "job.yaml"),
        "worst_case": {"hours": hours, "usd": usd},
        "estimate": estimate,
        "quota": facts.quota if facts else None,
        "budget": cast("AmountsDocument", dict(template.budget)),
        "run_cap": sweep.config.run_cap,
        "count": count,
        "places": [_place_document(each, price) for each, price in priced if each.name],
        "unknown": unknown,
    }


def _worst_usd(priced: tuple[ChosenPlace, Price | None]) -> float:
    """Return the most dollars that one trial can cost at a place; infinity if its price is unknown."""
    place, price = priced
    return math.inf if price is None else worst_instance_s(place.template) * price.per_hour / 3600


def _place_document(place: ChosenPlace, price: Price | None) -> PlannedPlaceDocument:
    worst = _worst_usd((place, price))
    return {
        "name": place.name,
        "backend": place.backend,
        "slots": place.slots,
        "region": place.workspace.environ.get("AWS_REGION", "") if _has_price(place) else "",
        "instances": _instances(place.template) if _has_price(place) else [],
        "is_spot": bool(place.template.request.get("EnableManagedSpotTraining")),
        "price_per_hour": price.per_hour if price else None,
        "worst_usd_per_trial": None if math.isinf(worst) else worst,
    }


def _price(template: JobTemplate, backend: str, workspace: Workspace, unknown: dict[str, str]) -> Price | None:
    ask_price = backend_spec(backend).ask_price
    if not template.asks_price or ask_price is None:
        if template.price is None:
            unknown["price_per_hour"] = "set price_per_hour in job.yaml: dollars, or aws for the AWS price list"
        return template.price
    try:
        return ask_price(template, workspace.environ)
    except SmsweepError as err:
        unknown["price_per_hour"] = str(err)
        return None


def _instances(template: JobTemplate) -> list[InstancesDocument]:
    """Return the instances of a job. Several entries are groups, or types of which SageMaker chooses one."""
    resources = template.request.get("ResourceConfig", {})
    groups = [*resources.get("InstanceGroups", ()), *resources.get("InstancePreferences", ())]
    return [
        {"type": group["InstanceType"], "count": int(group.get("InstanceCount", 1))}
        for group in (groups or [resources])
        if "InstanceType" in group
    ]


def worst_case(
    template: JobTemplate, price: Price | None, n_trials: int | None, trials: Iterable[Trial]
) -> tuple[float | None, float | None]:
    """Return the most instance hours and dollars that the trials can still use; None if unlimited or unknown."""
    used = [trial.usage for trial in trials]
    caps = {name: cap for name, cap in template.budget.items() if name != "usd" or price is not None}
    hours = [] if n_trials is None else [worst_instance_s(template) * n_trials / 3600]
    if "hours" in caps:
        hours.append(caps["hours"] - sum(usage.get("instance_s", 0.0) for usage in used) / 3600)
    most = max(0.0, min(hours)) if hours else None
    usd = [] if most is None or price is None else [most * price.per_hour]
    if "usd" in caps:
        usd.append(caps["usd"] - sum(usage.get("usd", 0.0) for usage in used))
    return most, max(0.0, min(usd)) if usd else None


def _estimate(
    workspace: Workspace,
    sweep: Sweep,
    template: JobTemplate,
    price: Price | None,
    n_trials: int | None,
    unknown: dict[str, str],
) -> EstimateDocument | None:
    """Return the expected cost, from the mean of earlier trials on the same instance type."""
    try:
        earlier = list(_earlier(workspace, sweep, template))
    except SmsweepError as err:
        unknown["estimate"] = str(err)
        return None
    if not earlier:
        types = " or ".join(dict.fromkeys(machines(template.request))) or "such instances"
        unknown["estimate"] = f"no earlier trial on {types} in {workspace.dir}"
        return None
    seconds = fmean(trial.usage["billable_s"] for trial in earlier)
    hours = seconds * instance_count(template.request.get("ResourceConfig", {})) / 3600
    return {
        "usd": None if price is None or n_trials is None else hours * price.per_hour * n_trials,
        "seconds_per_trial": round(seconds, 3),
        "usd_per_trial": None if price is None else hours * price.per_hour,
        "trials": len(earlier),
        "sweeps": list(dict.fromkeys(trial.sweep_id for trial in earlier)),
    }


def _earlier(workspace: Workspace, sweep: Sweep, template: JobTemplate) -> Iterator[Trial]:
    """Yield ended trials on the same instance type: of this sweep, of sweeps with its program, or of any sweep."""
    if not workspace.has_store:
        return
    kind = _kind(template)
    with workspace.store(read_only=True) as store:
        similar = [other for other in store.list_sweeps() if _kind(other.job) == kind]
        own = [other for other in similar if other.id == sweep.id]
        same = [other for other in similar if other.config.program == sweep.config.program]
        for group in (own, same, similar):
            trials = [trial for other in group[:MAX_SWEEPS] for trial in _billed(store, other, kind[0])]
            if trials:
                yield from trials
                return


def _kind(template: JobTemplate) -> tuple[frozenset[str], bool]:
    """Return the instance types of a template, and whether they are spot instances."""
    return frozenset(machines(template.request)), bool(template.request.get("EnableManagedSpotTraining"))


def _billed(store: Store, sweep: Sweep, types: Iterable[str]) -> Iterator[Trial]:
    for trial in store.list_trials(sweep.id):
        usage: Any = trial.usage
        if trial.state.is_terminal and usage.get("instance_type") in types and usage.get("billable_s", 0) > 0:
            yield trial
