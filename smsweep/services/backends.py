"""Select and open the backend of a command, make the requests of its trials, and ask for its prices."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches
from typing import Final

from smsweep.aws.options import EVENTS_QUEUE
from smsweep.backends.base import Backend, BackendContext
from smsweep.backends.local.devices import check_fits, find_pool
from smsweep.backends.registry import BACKENDS, backend_names, backend_spec, is_local, open_client
from smsweep.core.job import JobTemplate, Price, TrainingJobRequest
from smsweep.core.json_documents import PriceDocument
from smsweep.core.resources import is_share
from smsweep.core.sweep import Sweep
from smsweep.core.trial import Trial
from smsweep.engine.job_request import training_job
from smsweep.errors import ConfigError, SmsweepError, UsageError
from smsweep.services.workspace import Workspace
from smsweep.source.pack import refuse_upload
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.util.clock import utc_now

log = logging.getLogger(__name__)

DEFAULT_BACKEND = "process"
AUTO: Final = "auto"  # value of `parallel`: as many trials as fit this machine


def backend_name(name: str | None, workspace: Workspace) -> str:
    """Return `name`, else `SMSWEEP_BACKEND`, else "process". Raises UsageError for an unknown backend."""
    where = "--backend" if name else "SMSWEEP_BACKEND"
    name = name or workspace.environ.get("SMSWEEP_BACKEND") or DEFAULT_BACKEND
    if name not in BACKENDS:
        names = sorted(backend_names())
        close = get_close_matches(name, names, 1)
        use = f"did you mean {close[0]}? Use" if close else "use"
        raise UsageError(f"{where}: no backend {name!r}; {use} one of {', '.join(names)}")
    return name


def open_backend(name: str, workspace: Workspace, *, only_reads: bool = False) -> Backend:
    """Open a backend in the workspace. only_reads: do not read the queue of job events, which an agent needs."""
    environ = {key: value for key, value in workspace.environ.items() if not (only_reads and key == EVENTS_QUEUE)}
    context = BackendContext(
        jobs_dir=workspace.jobs_dir,
        runtime_zip=workspace.runtime_zip(),
        environ=environ,
        clock=lambda: utc_now().timestamp(),
    )
    return open_client(name, context)


def renderer(
    template: JobTemplate, stored: Sweep, workspace: Workspace, backend: str, *, upload: bool
) -> Callable[[Trial], TrainingJobRequest]:
    """Return the function that makes the request of a trial.

    Args:
        template: The job template.
        stored: The sweep.
        workspace: The workspace.
        backend: Name of the backend.
        upload: Copy or upload the files that the jobs need.

    Raises:
        JobError: If the backend cannot run any trial. Nothing is sent.
    """
    spec = backend_spec(backend)
    refuse_in_place(template, backend)
    refuse_image(template, backend)
    if backend != DEFAULT_BACKEND:
        refuse_upload(workspace.bundles_dir, stored.source_hash)
    if spec.check_request:
        check_prepared(template, stored, workspace, backend)
    upload = upload and not template.runs_image
    assets = workspace.assets(stored.source_hash) if upload else workspace.assets_path(stored.source_hash)
    complete, site = spec.prepare(template, assets, workspace.dir, workspace.environ, upload=upload)
    if upload and site.assets_uri.startswith("s3://"):
        from smsweep.aws.job_template import mark_source  # boto3 is slow to import

        mark_source(template, site.assets_uri, stored.id, workspace.environ)
    return lambda trial: training_job(complete, stored, trial, site)


def check_prepared(template: JobTemplate, stored: Sweep, workspace: Workspace, backend: str) -> None:
    """Raise JobError if the backend cannot run any trial. Nothing is sent."""
    refuse_in_place(template, backend)
    refuse_image(template, backend)
    spec, path = backend_spec(backend), workspace.assets_path(stored.source_hash)
    complete, site = spec.prepare(template, path, workspace.dir, workspace.environ, upload=False)
    if spec.check_request:
        spec.check_request(training_job(complete, stored, Trial(sweep_id=stored.id, number=0, params={}), site))


def names_checkpoints_in_s3(template: JobTemplate) -> bool:
    """Return True if job.yaml has a URI in S3 for checkpoints, which is then the same at all places."""
    return str(template.request.get("CheckpointConfig", {}).get("S3Uri", "")).startswith("s3://")


def refuse_in_place(template: JobTemplate, backend: str) -> None:
    """Raise UsageError if trials run in the original source folder and the backend does not start processes."""
    if template.in_place and backend != DEFAULT_BACKEND:
        raise UsageError(
            f"in_place: only processes of this machine run in the original folder, and --backend {backend} runs a "
            "copy of it; add --no-in-place, or remove in_place from job.yaml; name data under `inputs:`"
        )


def refuse_image(template: JobTemplate, backend: str) -> None:
    """Raise UsageError if the image's own program runs, and the backend runs no images."""
    spec = backend_spec(backend)
    if template.runs_image and not (spec.uses_images or spec.ask_price):
        raise UsageError(
            f"entrypoint: image runs the program of a container image, and --backend {backend} runs no images; "
            "use --backend docker, sagemaker or batch"
        )


def check_machine(template: JobTemplate, backend: str, environ: Mapping[str, str], *, pulls: bool) -> None:
    """Raise JobError if this machine cannot run jobs of a backend now. pulls: download a missing image."""
    check = backend_spec(backend).check_machine
    if check is not None:
        check(template, environ, pulls=pulls)


def with_trial_resources(
    template: JobTemplate,
    backend: str,
    environ: Mapping[str, str],
    *,
    gpus_per_trial: float | None = None,
    parallel: int | str = 1,
    has_function: bool = False,
) -> tuple[JobTemplate, int]:
    """Return a template with the devices of each trial, and the number of trials that run at the same time.

    Args:
        template: The job template.
        backend: Name of the backend.
        environ: The user's environment variables, which limit the devices.
        gpus_per_trial: Replaces `resources_per_trial.gpus` of the template. None to keep it.
        parallel: The number of trials; "auto" for as many as fit this machine. Then a trial gets a GPU of its own
            if the machine has GPUs and the template does not say how many a trial needs.
        has_function: The trials are calls of a function in this process.

    Raises:
        UsageError: If an argument is invalid, or the jobs of the backend do not run on this machine, or functions
            in threads need devices of their own.
        JobRejected: If no trial fits this machine.
    """
    for name, is_used in (("gpus_per_trial", gpus_per_trial is not None), ("parallel: auto", parallel == AUTO)):
        if is_used and not is_local(backend):
            raise UsageError(
                f"{name}: counts the devices of this machine, but --backend {backend} runs jobs on other machines"
                "; remove it, and select an instance type in job.yaml"
            )
    resources = template.resources
    if gpus_per_trial is not None:
        if not is_share(gpus_per_trial):
            raise UsageError(
                f"gpus_per_trial: expected a whole number of GPUs, or a fraction below 1, got {gpus_per_trial!r}"
            )
        resources = replace(resources, gpus=gpus_per_trial)
    if parallel != AUTO:
        n_slots = int(parallel)
    else:
        pool = find_pool(environ)
        if resources.gpus is None and pool.gpus:
            resources = replace(resources, gpus=1)
        check_fits(resources, pool)
        n_slots = max(1, pool.slots(resources))
    if has_function and n_slots > 1 and not resources.is_empty:
        raise UsageError(
            "resources_per_trial: functions in threads of one process share its devices; use parallel=1, or "
            'backend="process"'
        )
    return replace(template, resources=resources), n_slots


def with_price(
    template: JobTemplate, backend: str, store: Store, sweep_id: str, environ: Mapping[str, str], now: datetime
) -> JobTemplate:
    """Return a template with the current price of its instances, if the template asks for the price.

    Raises:
        ConfigError: If the price is not available and the template has a budget in dollars.
    """
    if not template.asks_price:
        return template
    ask_price = backend_spec(backend).ask_price
    if ask_price is None:
        return replace(template, budget={name: cap for name, cap in template.budget.items() if name != "usd"})

    try:
        price = ask_price(template, environ)
    except SmsweepError as err:
        if "usd" in template.budget:
            raise ConfigError(
                f"budget.usd: no price is available: {err}\nset price_per_hour in dollars in job.yaml"
            ) from err
        log.warning("sweep %s: no price is available, so its cost is unknown: %s", sweep_id, err)
        return template
    notes.PRICE.put(store, sweep_id, price_data(price, now))
    return replace(template, price=price)


def known_price(template: JobTemplate, note: PriceDocument | None) -> JobTemplate:
    """Return a template with the last known price, if job.yaml asks for it."""
    if not template.asks_price or not note:
        return template
    return replace(template, price=Price(per_hour=note["per_hour"], by_type=note["by_type"]))


def price_data(price: Price, now: datetime) -> PriceDocument:
    """Return a price as data, with the time at which AWS reported it."""
    return {"per_hour": price.per_hour, "by_type": dict(price.by_type), "asked_at": now.isoformat()}
