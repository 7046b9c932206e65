"""Python functions that run as jobs: choose their backend, pack them, and record which function a sweep runs."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smsweep.backends.registry import backend_spec
from smsweep.config_files.job_request import overlay
from smsweep.core.job import JobTemplate
from smsweep.core.sweep import Sweep, SweepConfig
from smsweep.core.trial import Trial
from smsweep.engine.job_request import training_job
from smsweep.errors import UsageError
from smsweep.runtime.job.function_call import PICKLE
from smsweep.secrets.redact import known_secrets
from smsweep.secrets.scan import scan_text
from smsweep.services.backends import DEFAULT_BACKEND
from smsweep.services.places import ChosenPlace
from smsweep.services.sweeps.load import needs_program
from smsweep.services.workspace import Workspace
from smsweep.source.pack import pack
from smsweep.store import notes
from smsweep.store.base import Store

INLINE = "inline"  # name of a backend: threads of this process
NO_ID = "00000000"  # placeholder for the id of a sweep that does not exist yet
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

Requirements = str | os.PathLike[str] | Sequence[str] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SentFunction:
    """A function that is the source of an agent's jobs."""

    hash: str  # of its bundle
    name: str
    python: str  # version that can load it, such as "3.11"
    store: Store
    sweep: Sweep  # as it is stored
    requirements: tuple[str, ...] = ()  # that its agent passed

    def placed(self, template: JobTemplate, backend: str) -> JobTemplate:
        """Return the template of its jobs. A process has the Python and the working directory of this process."""
        template = replace(template, in_place=False)
        if backend != DEFAULT_BACKEND:
            return template
        given = template.request.get("AlgorithmSpecification", {}).get("ContainerArguments", [])
        options = ["--python", sys.executable]
        with suppress(FileNotFoundError):  # the working directory was deleted
            options += ["--working-dir", str(Path.cwd())]
        arguments = {"AlgorithmSpecification": {"ContainerArguments": [*given, *options]}}
        return replace(template, request=overlay(template.request, arguments))

    def check_environment(self, template: JobTemplate, backend: str, workspace: Workspace) -> None:
        """Raise an error if jobs have another Python or other packages than the function needs.

        Raises:
            JobRejected: If the image has another Python.
            UsageError: If processes would run with another Python, or without one of the requirements.
        """
        if backend == DEFAULT_BACKEND and self.python != PYTHON:
            raise UsageError(
                f"function: {self.name} was pickled by Python {self.python}, and only the same version can load "
                f"it; this agent has Python {PYTHON}: start it with Python {self.python}"
            )
        _check_packages(self.requirements, backend)
        check_image(self.sweep, template, backend, self.python, workspace)

    def record(self, trial: Trial) -> None:
        """Record the function of a trial that is about to start, if it is not the source of the sweep."""
        if self.hash != self.sweep.source_hash:
            notes.changed_source(trial).put(self.store, trial.sweep_id, {"hash": self.hash, "files": [PICKLE]})


def is_inline(
    function: object, backend: str | None, parallel: int | str, workspace: Workspace, *, has_places: bool
) -> bool:
    """Return True if an agent calls its function in this process.

    Args:
        function: The function of the agent; None for a program.
        backend: The name that the user gave; None for the default.
        parallel: Number of trials that run in parallel, or "auto".
        workspace: The workspace.
        has_places: The agent can run trials at the places of `on` or of job.yaml.

    Raises:
        UsageError: If there is no function.
    """
    if backend == INLINE:
        if function is None:
            raise UsageError(
                'backend: "inline" calls a function of this process; pass function=, or use "process"'
            )
        return True
    is_default = not (backend or has_places or workspace.environ.get("SMSWEEP_BACKEND"))
    return function is not None and is_default and parallel == 1


def check_image(sweep: Sweep, template: JobTemplate, backend: str, python: str, workspace: Workspace) -> None:
    """Raise JobRejected if the image of a template has another Python than `python`."""
    spec = backend_spec(backend)
    if spec.check_python is None:
        return
    path = workspace.assets_path(sweep.source_hash)
    complete, site = spec.prepare(template, path, workspace.dir, workspace.environ, upload=False)
    request = training_job(complete, sweep, Trial(sweep_id=sweep.id, number=0, params={}), site)
    spec.check_python(request, workspace.environ, python)


def check_function(
    config: SweepConfig,
    function: Callable[[], Any],
    requirements: Requirements,
    places: Sequence[ChosenPlace],
) -> None:
    """Check a function and the images of its jobs before a sweep is created. Write nothing.

    For the arguments and exceptions, see `send_function`. Raises JobRejected if an image has another Python, and
    UsageError if processes would run without one of the requirements.
    """
    from smsweep.source.function import pickle_function  # cloudpickle is slow to import

    pickled = pickle_function(function, requirements)
    for place in places:
        _check_packages(pickled.requirements, place.backend)
        template = replace(place.template, in_place=False)
        placeholder = Sweep(id=NO_ID, config=config, job=template)
        check_image(placeholder, template, place.backend, PYTHON, place.workspace)


def send_function(
    store: Store,
    sweep: Sweep,
    function: Callable[[], Any] | None,
    requirements: Requirements,
    backend: str,
    workspace: Workspace,
) -> SentFunction | None:
    """Pack the function of an agent, and record it, so that later agents can call it.

    The first function of a sweep without a program becomes the source of the sweep. Trials of another function
    record their source.

    Args:
        store: The store that has the sweep.
        sweep: The sweep.
        function: The function; None for the one that was sent last.
        requirements: Packages that its jobs install.
        backend: Name of the backend; of a remote one if the agent has several.
        workspace: The workspace.

    Returns:
        The function; None if the agent runs a program.

    Raises:
        SourceError: If the function or a module contains a secret, and is not for processes of this machine.
        UsageError: If the function cannot be pickled, or the requirements are not valid.
    """
    if function is None:
        note = notes.FUNCTION.get(store, sweep.id)
        return _sent(store, sweep, note) if note else None
    # cloudpickle is slow to import, and most agents run a program.
    from smsweep.source.function import pickle_function

    pickled = pickle_function(function, requirements)
    known = known_secrets(workspace.environ, sweep.job)
    with tempfile.TemporaryDirectory(prefix="smsweep-function-") as scratch, workspace.made():
        bundle = pack(
            pickled.collect(Path(scratch), excluded=[workspace.dir]),
            workspace.bundles_dir,
            other_findings=scan_text(PICKLE, "\n".join(pickled.strings), known),
            known=known,
            refuses=backend != DEFAULT_BACKEND,
        )
    note = {"hash": bundle.hash, "name": pickled.name, "python": pickled.python}
    if needs_program(sweep.config):
        notes.FUNCTION.put(store, sweep.id, note)  # first: after a crash, the next agent finds the function
        sweep = store.set_source_hash(sweep.id, bundle.hash)
    return replace(_sent(store, sweep, note), requirements=pickled.requirements)


def _sent(store: Store, sweep: Sweep, note: dict[str, str]) -> SentFunction:
    return SentFunction(hash=note["hash"], name=note["name"], python=note["python"], store=store, sweep=sweep)


def _check_packages(requirements: Sequence[str], backend: str) -> None:
    """Raise UsageError if processes, which install nothing, would run without one of the requirements."""
    if backend != DEFAULT_BACKEND or not requirements:
        return
    from smsweep.source.function import missing_requirements  # cloudpickle is slow to import

    if missing := missing_requirements(requirements):
        raise UsageError(
            f"requirements: processes use the packages of {sys.prefix}, which does not have {', '.join(missing)}; "
            'install the packages there, or use backend="docker"'
        )
