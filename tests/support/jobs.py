"""Requests for small jobs, and a backend that runs them. All backend tests share this module."""

from __future__ import annotations

import io
import json
import secrets
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smsweep.backends.base import Backend, BackendContext
from smsweep.backends.registry import backend_spec
from smsweep.core.job import RUNTIME_CHANNEL, RUNTIME_ZIP, SOURCE_TAR, JobStatus
from smsweep.runtime.script.records import MARK
from smsweep.source.runtime_zip import runtime_zip

PATIENCE_S = 180  # installations are slow on a busy machine
ENTRYPOINT = ["python3", f"/opt/ml/input/data/{RUNTIME_CHANNEL}/{RUNTIME_ZIP}"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """A job that has ended."""

    status: JobStatus
    lines: tuple[str, ...]  # the complete log


@dataclass(kw_only=True)
class Jobs:
    """Makes requests, and runs them on a backend. All files are in one folder."""

    folder: Path
    kind: str  # the backend's name
    image: str = ""
    environ: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin"})
    prefix: str = field(default_factory=lambda: f"test-{secrets.token_hex(4)}")

    def __post_init__(self) -> None:
        self._opened = ExitStack()
        self._runtime = self.folder / RUNTIME_ZIP
        self._runtime.write_bytes(runtime_zip())
        self.backend = self.another()

    def another(self, clock: Callable[[], float] = time.time, /, **environ: str) -> Backend:
        """Open another client of the backend, as another process does. environ: additional variables."""
        context = BackendContext(
            jobs_dir=self.folder / "jobs",
            runtime_zip=self._runtime,
            environ={**self.environ, **environ},
            clock=clock,
        )
        backend = backend_spec(self.kind).open(context)
        self._opened.callback(backend.close)
        return backend

    def close(self) -> None:
        self._opened.close()

    def name(self, label: str) -> str:
        """Return a unique job name."""
        return f"{self.prefix}-{label}"

    def ml(self, label: str) -> Path:
        return self.folder / "jobs" / self.name(label) / "ml"

    def assets(self, files: Mapping[str, str]) -> Path:
        """Create a folder with the runtime and a source that has these files."""
        folder = self.folder / "assets" / secrets.token_hex(4)
        folder.mkdir(parents=True)
        (folder / RUNTIME_ZIP).hardlink_to(self._runtime)
        with tarfile.open(folder / SOURCE_TAR, "w:gz") as tar:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(text.encode())
                tar.addfile(member, io.BytesIO(text.encode()))
        return folder

    def request(
        self,
        label: str,
        script: str = "",
        *,
        files: Mapping[str, str] | None = None,
        params: Mapping[str, object] | None = None,
        channels: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        max_run_s: int = 600,
        **fields: Any,
    ) -> dict[str, Any]:
        """Return a request that runs the script as train.py.

        Args:
            label: End of the job name.
            script: Content of train.py.
            files: Further source files, name -> content.
            params: Hyperparameters.
            channels: Input channels, name -> URI.
            environment: Environment variables.
            max_run_s: MaxRuntimeInSeconds.
            **fields: Fields of the request that replace the defaults.
        """
        sources = {RUNTIME_CHANNEL: self.assets({"train.py": script, **(files or {})}).as_uri() + "/"}
        sources |= channels or {}
        hyperparameters = {name: json.dumps(value) for name, value in (params or {}).items()}
        request = {
            "TrainingJobName": self.name(label),
            "AlgorithmSpecification": {
                **({"TrainingImage": self.image} if self.image else {}),
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ENTRYPOINT,
            },
            "HyperParameters": {"sagemaker_program": '"train.py"', **hyperparameters},
            "Environment": dict(environment or {}),
            "InputDataConfig": [channel(name, uri) for name, uri in sources.items()],
            "OutputDataConfig": {"S3OutputPath": (self.folder / "results").as_uri()},
            "CheckpointConfig": {"S3Uri": (self.folder / "checkpoints").as_uri()},
            "StoppingCondition": {"MaxRuntimeInSeconds": max_run_s},
        }
        return {**request, **fields}

    def start(self, label: str, script: str, **options: Any) -> str:
        """Submit a job and return its name."""
        self.backend.submit(self.request(label, script, **options))
        return self.name(label)

    def run(self, label: str, script: str, **options: Any) -> Done:
        return self.finish(self.start(label, script, **options))

    def finish(self, name: str, backend: Backend | None = None) -> Done:
        """Wait for the end of a job, and read its log."""
        backend = backend or self.backend
        status = self.until(name, lambda status: status.is_terminal, backend)
        return Done(status=status, lines=read_all(backend, name))

    def until(self, name: str, holds: Callable[[JobStatus], bool], backend: Backend | None = None) -> JobStatus:
        """Wait until a condition of a job's status is true, and return the status."""
        backend = backend or self.backend
        deadline = time.monotonic() + PATIENCE_S
        while True:
            status = backend.describe([name]).get(name)
            if status is not None and holds(status):
                return status
            assert time.monotonic() < deadline, f"{name} is still {status}; its log: {read_all(backend, name)}"
            assert status is None or not status.is_terminal, f"{status}; its log: {read_all(backend, name)}"
            backend.wait(0.02)

    def until_says(self, name: str, line: str, backend: Backend | None = None) -> None:
        """Wait until a line is in a job's log."""
        backend = backend or self.backend
        deadline = time.monotonic() + PATIENCE_S
        while line not in read_all(backend, name):
            status = backend.describe([name]).get(name)
            assert time.monotonic() < deadline, f"{name} did not print {line!r}: {read_all(backend, name)}"
            assert status is None or not status.is_terminal or line in read_all(backend, name), status
            backend.wait(0.02)


def channel(name: str, uri: str, **source: str) -> dict[str, Any]:
    s3 = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated", **source}
    return {"ChannelName": name, "DataSource": {"S3DataSource": s3}}


def read_all(backend: Backend, name: str) -> tuple[str, ...]:
    """Return all log lines until now, without the records of the runtime."""
    lines: list[str] = []
    cursor = ""
    while True:
        page = backend.read_logs(name, cursor)
        lines += script_lines(page.lines)
        if page.is_last or page.cursor == cursor:
            return tuple(lines)
        cursor = page.cursor


def script_lines(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the lines without the records of the runtime, which can be at the end of a line."""
    return tuple(line.partition(MARK)[0] for line in lines if not line.startswith(MARK))


def running() -> Iterator[list[str]]:
    """Yield the arguments of each process on this machine."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield file.read_bytes().decode(errors="replace").split("\0")
