"""What surrounded a trial: versions, machine, image; as far as it is known."""

from __future__ import annotations

import re

from smsweep.backends.local.job_folder import JobFolder
from smsweep.core.json_documents import FactDifferenceDocument
from smsweep.core.trial import Trial
from smsweep.runtime.job.environment_info import FILE
from smsweep.services.workspace import Workspace
from smsweep.store import notes
from smsweep.store.base import Store

PARAMS = "smsweep"  # the folder in a job's tree; see runtime/layout.py


def differing_facts(store: Store, a: Trial, b: Trial) -> list[FactDifferenceDocument]:
    """Return the facts about two trials that are not the same, as {name, a, b}; null for what is not known."""
    facts = facts_of(store, a), facts_of(store, b)
    names = dict.fromkeys([*facts[0], *facts[1]])
    pairs: list[FactDifferenceDocument] = [
        {"name": name, "a": facts[0].get(name), "b": facts[1].get(name)} for name in names
    ]
    return [pair for pair in pairs if pair["a"] != pair["b"]]


def facts_of(store: Store, trial: Trial) -> dict[str, str]:
    """Return what is known of where a trial ran.

    `python`, `platform` and `packages.NAME` as its job found them, where the job's folder is on this machine; of a
    process whose folder is gone, as they were when its sweep was created.
    """
    sweep = store.get_sweep(trial.sweep_id)
    folder = JobFolder(Workspace().jobs_dir / trial.job_name) if trial.job_name else None
    request = (folder and folder.find_request()) or dict(sweep.job.request)
    origin = notes.ORIGIN.get(store, trial.sweep_id)
    backend, _, machine = trial.place.partition("@")
    around = (folder and folder.find_document(PARAMS, FILE)) or (origin if backend == "process" else {})
    has_other_job = notes.HAS_OTHER_JOB.get(store, sweep.id)
    resources = request.get("ResourceConfig", {})
    facts = {
        "backend": backend,
        "machine": machine,
        "image": request.get("AlgorithmSpecification", {}).get("TrainingImage"),
        "image digest": trial.usage.get("image"),
        "instance type": trial.usage.get("instance_type") or resources.get("InstanceType"),
        "instance count": trial.usage.get("instance_count") or resources.get("InstanceCount"),
        "smsweep": origin.get("smsweep"),
        "python": around.get("python"),
        "platform": around.get("platform"),
        "job.yaml": "another than its sweep's own, of some trials" if has_other_job else None,
    }
    for package in around.get("packages", ()):
        name, _, version = package.partition("==")
        facts[f"packages.{canonical(name)}"] = version
    return {name: str(value) for name, value in facts.items() if value}


def canonical(name: str) -> str:
    """Return a package's name in the one spelling that stands for all. Source: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
