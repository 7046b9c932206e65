"""The contract of a backend."""

from __future__ import annotations

import io
import json
import os
import secrets
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from unittest import SkipTest

from smsweep.backends.base import Backend, BackendContext, BackendSpec
from smsweep.core.job import RUNTIME_CHANNEL, RUNTIME_ZIP, SOURCE_TAR, JobStatus, JobTemplate
from smsweep.runtime.script.records import MARK
from smsweep.source.runtime_zip import runtime_zip
from smsweep.util.clock import utc_now

ENTRYPOINT = ["python3", f"/opt/ml/input/data/{RUNTIME_CHANNEL}/{RUNTIME_ZIP}"]


def _now() -> float:
    return utc_now().timestamp()


class BackendContract:
    """Tests that every backend passes.

    Attributes:
        spec: The backend.
        environ: Environment variables of the user that the backend needs, added to PATH.
        image: The container image of the jobs; "" if the backend uses none.
        runs_scripts: False for a backend that does not run the script of a job.
        timeout_s: How long a test waits for a job to end, in seconds.
    """

    spec: ClassVar[BackendSpec]
    environ: ClassVar[Mapping[str, str]] = {}
    image: ClassVar[str] = ""
    runs_scripts: ClassVar[bool] = True
    timeout_s: ClassVar[float] = 180.0

    @contextmanager
    def opened(self, folder: Path) -> Iterator[Backend]:
        """Open the backend below a folder."""
        zip_file = folder / RUNTIME_ZIP
        zip_file.write_bytes(runtime_zip())
        environ = {"PATH": os.environ.get("PATH", os.defpath), **self.environ}
        context = BackendContext(jobs_dir=folder / "jobs", runtime_zip=zip_file, environ=environ, clock=_now)
        backend = self.spec.open(context)
        try:
            yield backend
        finally:
            backend.close()

    def request(self, folder: Path, script: str = "", **params: object) -> dict[str, Any]:
        """Return a CreateTrainingJob request whose job runs the script with the params as arguments."""
        assets = folder / "assets" / secrets.token_hex(4)
        assets.mkdir(parents=True)
        (assets / RUNTIME_ZIP).write_bytes(runtime_zip())
        with tarfile.open(assets / SOURCE_TAR, "w:gz") as tar:
            member = tarfile.TarInfo("train.py")
            member.size = len(script.encode())
            tar.addfile(member, io.BytesIO(script.encode()))
        environ = {"PATH": os.environ.get("PATH", os.defpath), **self.environ}
        template, site = self.spec.prepare(JobTemplate(), assets, folder, environ, upload=True)
        name = f"contract-{secrets.token_hex(4)}"
        source = {
            "S3DataType": "S3Prefix",
            "S3Uri": f"{site.assets_uri}/",
            "S3DataDistributionType": "FullyReplicated",
        }
        return {
            **template.request,
            "TrainingJobName": name,
            "AlgorithmSpecification": {
                **({"TrainingImage": self.image} if self.image else {}),
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ENTRYPOINT,
            },
            "HyperParameters": {
                "sagemaker_program": '"train.py"',
                **{key: json.dumps(value) for key, value in params.items()},
            },
            "Environment": {},
            "InputDataConfig": [{"ChannelName": RUNTIME_CHANNEL, "DataSource": {"S3DataSource": source}}],
            "OutputDataConfig": {"S3OutputPath": site.output_uri},
            "CheckpointConfig": {"S3Uri": f"{site.checkpoint_uri}/{name}"},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        }

    def test_place_is_constant(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as backend:
            place = backend.place
            assert place and isinstance(place, str)
        with self.opened(tmp_path) as backend:
            assert backend.place == place

    def test_job_completes(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as backend:
            status, _ = self._run(backend, self.request(tmp_path, "print('one')"))
            assert status.status == "Completed", status
            assert status.exit_code == 0

    def test_unknown_jobs_are_absent_and_harmless(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as backend:
            assert backend.describe(["no-such-job"]) == {}
            assert tuple(backend.read_logs("no-such-job").lines) == ()
            backend.stop("no-such-job")
            backend.forget("no-such-job")

    def test_one_call_describes_several_jobs(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as backend:
            requests = [self.request(tmp_path, "") for _ in range(2)]
            names = [self._run(backend, request)[0].name for request in requests]
            assert set(backend.describe([*names, "no-such-job"])) == set(names)

    def test_second_submit_starts_nothing(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as backend:
            request = self.request(tmp_path, "import secrets; print(secrets.token_hex())")
            backend.submit(request)
            first = self._run(backend, request)
            assert self._run(backend, request) == first

    def test_stop_of_an_ended_job_changes_nothing(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as backend:
            status, _ = self._run(backend, self.request(tmp_path, ""))
            backend.stop(status.name)
            assert backend.describe([status.name]) == {status.name: status}

    def test_logs_are_read_once_with_a_cursor(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as backend:
            status, lines = self._run(backend, self.request(tmp_path, "print('one')\nprint('two')"))
            assert self._read(backend, status.name) == lines
            cursor, page = "", backend.read_logs(status.name)
            while not page.is_last and page.cursor != cursor:
                cursor, page = page.cursor, backend.read_logs(status.name, page.cursor)
            assert tuple(backend.read_logs(status.name, page.cursor).lines) == ()
            if self.runs_scripts:
                assert lines == ("one", "two")

    def test_params_reach_the_script(self, tmp_path: Path) -> None:
        self._needs_scripts()
        with self.opened(tmp_path) as backend:
            request = self.request(tmp_path, "import sys; print(sys.argv[1:])", lr=0.1, name="a b; $(c)")
            assert self._run(backend, request)[1] == ("['--lr', '0.1', '--name', 'a b; $(c)']",)

    def test_failing_script_fails_the_job_with_its_exit_code(self, tmp_path: Path) -> None:
        self._needs_scripts()
        with self.opened(tmp_path) as backend:
            status, _ = self._run(backend, self.request(tmp_path, "raise SystemExit(7)"))
            assert (status.status, status.exit_code) == ("Failed", 7)

    def test_stop_ends_a_running_job(self, tmp_path: Path) -> None:
        self._needs_scripts()
        with self.opened(tmp_path) as backend:
            request = self.request(tmp_path, "import time; print('ready', flush=True); time.sleep(600)")
            backend.submit(request)
            deadline = time.monotonic() + self.timeout_s
            while "ready" not in self._read(backend, request["TrainingJobName"]):
                assert time.monotonic() < deadline, "the script did not start"
                backend.wait(0.05)
            backend.stop(request["TrainingJobName"], grace_s=1)
            assert self._run(backend, request)[0].status == "Stopped"

    def _run(self, backend: Backend, request: dict[str, Any]) -> tuple[JobStatus, tuple[str, ...]]:
        """Submit a job and wait for its end; return its status and its log."""
        backend.submit(request)
        name = request["TrainingJobName"]
        deadline = time.monotonic() + self.timeout_s
        while True:
            status = backend.describe([name])[name]
            if status.is_terminal:
                return status, self._read(backend, name)
            assert time.monotonic() < deadline, f"the job did not end: {status}"
            backend.wait(0.05)

    def _read(self, backend: Backend, name: str) -> tuple[str, ...]:
        """Return all lines of a job's log, without the records of the runtime."""
        lines: list[str] = []
        cursor = ""
        while True:
            page = backend.read_logs(name, cursor)
            lines += (line.partition(MARK)[0] for line in page.lines if not line.startswith(MARK))
            if page.is_last or page.cursor == cursor:
                return tuple(lines)
            cursor = page.cursor

    def _needs_scripts(self) -> None:
        if not self.runs_scripts:
            raise SkipTest("the backend does not run scripts")
