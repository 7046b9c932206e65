"""A sweep whose store is in S3, on a server with injected failures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from smsweep.aws.client import Aws
from smsweep.config_files.sweep_yaml import parse_sweep
from smsweep.core.job import JobTemplate
from smsweep.core.sweep import Sweep, SweepConfig
from smsweep.remote.s3_store.replica import Replica
from smsweep.remote.s3_store.s3_object import S3Store
from smsweep.remote.s3_store.writer import Writer
from smsweep.store.open import open_store
from tests.support.s3_server import FaultyS3, serve_s3

SWEEP = "abcd1234"
PAUSE = b'{"do": "set_sweep_state", "expect": ["running", "paused"], "to": "paused"}'
CONFIG = parse_sweep({"program": "t.py", "method": "grid", "parameters": {"x": {"values": [1, 2, 3]}}})


def parse(sweep_yaml: str, job_yaml: str) -> tuple[SweepConfig, JobTemplate]:
    return CONFIG.config, JobTemplate()


@dataclass
class RemoteStore:
    """The store of one sweep, with methods of a writer and of a reader."""

    s3: FaultyS3
    bucket: str
    s3_store: S3Store
    folder: Path
    on_exit: ExitStack

    @property
    def path(self) -> str:
        """Return the common prefix of all request paths for the store."""
        return f"/{self.bucket}/smsweep/agents/{SWEEP}"

    def key(self, name: str) -> str:
        return f"smsweep/agents/{SWEEP}/{name}"

    def put(self, name: str, body: bytes) -> None:
        self.s3.client().put_object(Bucket=self.bucket, Key=self.key(name), Body=body)

    def objects(self, below: str = "") -> dict[str, bytes]:
        """Return the stored objects below a prefix, by the rest of their key."""
        client = self.s3.client()
        prefix = self.key(below)
        found = client.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        return {
            item["Key"].removeprefix(prefix): client.get_object(Bucket=self.bucket, Key=item["Key"])["Body"].read()
            for item in found
        }

    def writer(self, who: str) -> Writer:
        return self.on_exit.enter_context(closing(Writer(self.s3_store, SWEEP, self.folder / who, parse, who)))

    def note(self, key: str) -> Any:
        """Return what a reader sees of a note of the sweep."""
        with closing(Replica(self.folder / "copies", self.s3_store, parse)) as copies:
            return copies.newest().store.get_note(SWEEP, key)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[FaultyS3]:
    with serve_s3() as server:
        yield server


@pytest.fixture
def s3(s3_server: FaultyS3) -> Iterator[FaultyS3]:
    yield s3_server
    s3_server.settle()


@pytest.fixture(scope="session")
def aws(s3_server: FaultyS3) -> Iterator[Aws]:
    with closing(Aws(s3_server.environ())) as opened:
        yield opened


@pytest.fixture
def remote(s3: FaultyS3, aws: Aws, tmp_path: Path) -> Iterator[RemoteStore]:
    file = tmp_path / "first.db"
    with closing(open_store(f"sqlite:///{file}", environ={}, parse=parse)) as store:
        store.create_sweep(Sweep(id=SWEEP, config=CONFIG.config, seed=0, sweep_yaml=CONFIG.text))
    bucket = s3.new_bucket()
    s3_store = S3Store(aws, f"s3://{bucket}/smsweep/agents/{SWEEP}")
    s3_store.replace(file, version="", stamp="first")
    with ExitStack() as on_exit:
        yield RemoteStore(s3, bucket, s3_store, tmp_path, on_exit)
