"""Serve the local SageMaker endpoint: open what it needs, wait to be told to end, close again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from smsweep.backends.base import Backend
from smsweep.backends.registry import BACKENDS, LOCAL
from smsweep.errors import UsageError
from smsweep.services.signals import told_to_end
from smsweep.services.workspace import Workspace
from smsweep.util.clock import utc_now
from smsweep.util.lazy_registry import LazyTable

if TYPE_CHECKING:
    from smsweep.emulator.server import Endpoint


# moto is an extra, and slow to load.
PARTS: LazyTable[Any] = LazyTable(
    {
        "open": "smsweep.emulator.server:open_endpoint",
        "parse": "smsweep.emulator.faults:parse",
        "job_host": "smsweep.emulator.jobs.network:container_host",
    }
)


def serve(on_ready: Callable[[Endpoint], None], **options: Any) -> None:
    """Serve until Ctrl-C or SIGTERM, then stop all jobs. Takes the options of `endpoint`; main thread only."""
    with told_to_end() as is_over, endpoint(**options) as opened:
        on_ready(opened)
        is_over.wait()


@contextmanager
def endpoint(
    *,
    port: int = 0,
    backend: str = "process",
    folder: Path | None = None,
    quota: int | None = None,
    faults: str | Path | Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Endpoint]:
    """Serve SageMaker's training API on loopback while the `with` lasts.

    port: 0 for a free one. folder: of jobs and ledger, by default SMSWEEP_DIR/emulator. quota: live instances of a
    type. faults: a document, or a file or text that holds one as YAML or JSON. Raises UsageError.
    """
    workspace = Workspace(environ)
    if backend not in LOCAL:
        raise UsageError(f"no backend {backend!r} behind the emulator; use one of {', '.join(LOCAL)}")
    document = read_faults(faults) | ({} if quota is None else {"quota": quota})
    try:
        parsed, open_endpoint = PARTS["parse"](document), PARTS["open"]
    except ImportError as err:
        raise UsageError(f"the emulator needs moto ({err}); pip install 'smsweep[emulator]'") from err

    def clock() -> float:
        return utc_now().timestamp()

    def make_backend(runs: Path, job_environ: Mapping[str, str]) -> Backend:
        return BACKENDS[backend](runs, workspace.runtime_zip(), job_environ, clock)

    containers: dict[str, Any] = {}
    if backend == "docker":
        containers = {"job_host": PARTS["job_host"](workspace.environ), "has_toolkit": True}
    workspace.make()
    where = (folder or workspace.dir / "emulator").absolute()  # jobs have a working directory of their own
    with open_endpoint(
        where, make_backend, workspace.environ, clock, port=port, faults=parsed, **containers
    ) as opened:
        yield opened


def read_faults(given: str | Path | Mapping[str, Any] | None) -> dict[str, Any]:
    """Raises UsageError for what is no mapping, or a file that cannot be read."""
    if given is None or isinstance(given, Mapping):
        return dict(given or {})
    is_text = isinstance(given, str) and (given.lstrip().startswith("{") or ": " in given)
    try:
        text = str(given) if is_text else Path(given).read_text(encoding="utf-8")
        document = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as err:
        words = os.strerror(err.errno or 0) if isinstance(err, OSError) else str(err)
        raise UsageError(f"faults: {given}: {words}; give a file, or the document itself") from err
    except yaml.YAMLError as err:
        raise UsageError(f"faults: {'' if is_text else f'{given}: '}neither YAML nor JSON: {err}") from err
    if not isinstance(document, dict):
        raise UsageError(f"faults: expected a mapping such as {json.dumps({'quota': 3})}, got {text[:80]!r}")
    return document
