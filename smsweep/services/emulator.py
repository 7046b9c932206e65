"""Run the emulator of the SageMaker API: check its options, serve it, and stop all jobs at the end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from smsweep.backends.base import Backend, BackendContext
from smsweep.backends.registry import BACKENDS, backend_spec
from smsweep.errors import UsageError
from smsweep.services.signals import stop_event
from smsweep.services.workspace import Workspace
from smsweep.util.clock import utc_now

if TYPE_CHECKING:
    from smsweep.emulator.server import Emulator


def serve(on_ready: Callable[[Emulator], None], **options: Any) -> None:
    """Serve until Ctrl-C or SIGTERM, then stop all jobs. Call this in the main thread only.

    Args:
        on_ready: Called with the emulator when it accepts connections.
        options: See `run_emulator`.
    """
    with stop_event() as is_over, run_emulator(**options) as opened:
        on_ready(opened)
        is_over.wait()


@contextmanager
def run_emulator(
    *,
    port: int = 0,
    backend: str = "process",
    folder: Path | None = None,
    quota: int | None = None,
    faults: str | Path | Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Emulator]:
    """Serve SageMaker's training API on loopback while the body runs.

    Args:
        port: Port; 0 for a free port.
        backend: Name of the local backend that runs the jobs.
        folder: Folder of the jobs and the ledger. Default: SMSWEEP_DIR/emulator.
        quota: Maximum number of live instances of each type. Default: no limit.
        faults: Faults to inject: a mapping, or a file or a text with a mapping in YAML or JSON.
        environ: Environment variables. Default: those of this process.

    Yields:
        The running emulator.

    Raises:
        UsageError: If an option is invalid, or moto is not installed.
    """
    workspace = Workspace(environ)
    spec = backend_spec(backend) if backend in BACKENDS else None
    if spec is None or not spec.is_local:
        names = [name for name in BACKENDS.usable() if backend_spec(name).is_local]
        raise UsageError(f"no backend {backend!r} behind the emulator; use one of {', '.join(names)}")
    open_backend = spec.open
    document = read_faults(faults) | ({} if quota is None else {"quota": quota})
    try:
        # moto is an extra, and slow to import.
        from smsweep.emulator.faults import parse
        from smsweep.emulator.jobs.moto_services import container_host
        from smsweep.emulator.server import open_emulator
    except ImportError as err:
        raise UsageError(f"the emulator needs moto ({err}); pip install 'smsweep[emulator]'") from err
    parsed = parse(document)

    def clock() -> float:
        return utc_now().timestamp()

    def make_backend(runs: Path, job_environ: Mapping[str, str]) -> Backend:
        context = BackendContext(
            jobs_dir=runs, runtime_zip=workspace.runtime_zip(), environ=job_environ, clock=clock
        )
        return open_backend(context)

    containers: dict[str, Any] = {}
    if spec.uses_images:
        containers = {"job_host": container_host(workspace.environ), "has_toolkit": True}
    workspace.make()
    state_dir = (folder or workspace.dir / "emulator").absolute()  # jobs have different working directories
    with open_emulator(
        state_dir, make_backend, workspace.environ, clock, port=port, faults=parsed, **containers
    ) as opened:
        yield opened


def read_faults(faults: str | Path | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return faults as a mapping. Raises UsageError if a file cannot be read, or the content is not a mapping."""
    if faults is None or isinstance(faults, Mapping):
        return dict(faults or {})
    is_text = isinstance(faults, str) and (faults.lstrip().startswith("{") or ": " in faults)
    try:
        text = str(faults) if is_text else Path(faults).read_text(encoding="utf-8")
        document = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as err:
        problem = os.strerror(err.errno or 0) if isinstance(err, OSError) else str(err)
        raise UsageError(f"faults: {faults}: {problem}; give a file, or the faults as YAML or JSON") from err
    except yaml.YAMLError as err:
        raise UsageError(
            f"faults: {'' if is_text else f'{faults}: '}neither YAML nor JSON: {err}; fix the syntax"
        ) from err
    if not isinstance(document, dict):
        raise UsageError(f"faults: expected a mapping such as {json.dumps({'quota': 3})}, got {text[:80]!r}")
    return document
