"""What it costs to launch a trial as a training job: smsweep beside the SageMaker SDK's own ways, in one run.

A server on loopback (moto) answers all three, counts their requests and the bytes of their bodies, and adds 50 ms
to each request, as a network would. The source has 42 files, 1 MB. smsweep launches from a sweep's template, SDK
v2 by `PyTorch.fit(wait=False)`, v3 by `ModelTrainer.train(wait=False)`: one object each, which is their cheapest
way, and as they come, telemetry included. Only v3's check of the role is off, which moto cannot answer, and
smsweep's limit of launches a second, since the SDKs have none. Then a whole sweep runs through the local endpoint,
and its requests are counted.

    python -m benchmarks.launch_cost [--launches 20] [--sweep 100]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from benchmarks.ratios import leave
from smsweep.sdk import serve
from smsweep.sdk.run import run
from tests.oracles import ROOT, oracle

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

CLIENT = Path(__file__).with_name("launch_clients.py")
N_FILES, SOURCE_BYTES = 42, 1_000_000
ADDED_S = 0.05  # to each request
BUCKET = "launch-cost"
UNLIMITED = "create=1e6,list=1e6,describe=1e6,stop=1e6,logs=1e6"
NAMES = {
    "smsweep": "smsweep",
    "v2": "SDK v2 fit()",
    "v2-config": "v2, config file",  # the SDK then checks the file's schema at each setting it looks up
    "v3": "SDK v3 train()",
}


class Counting:
    """A WSGI application that adds latency to moto, and counts between /benchmark/begin and /benchmark/end."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self._is_on = False
        self.n_requests = 0
        self.n_bytes = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/benchmark/"):
            if environ["PATH_INFO"].endswith("begin"):
                self.n_requests = self.n_bytes = 0
            self._is_on = environ["PATH_INFO"].endswith("begin")
            start_response("204 No Content", [])
            return []
        if self._is_on:
            with self._lock:
                self.n_requests += 1
                self.n_bytes += int(environ.get("CONTENT_LENGTH") or 0)
        time.sleep(ADDED_S)
        if environ["PATH_INFO"] == "/telemetry":
            start_response("204 No Content", [])
            return []
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # for chunked answers; werkzeug closes each connection all the same

    def log(self, *args: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--launches", type=int, default=20)
    parser.add_argument("--sweep", type=int, default=100, help="trials of the whole sweep; 0 for none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        launches(folder, options.launches)
        if options.sweep:
            whole_sweep(folder, options.sweep)


def launches(folder: Path, n: int) -> None:
    source = folder / "source"
    write_source(source)
    medians = {}
    print(f"a launch, {N_FILES} files of source, {ADDED_S * 1000:.0f} ms added to a request, {n} launches each:")
    with served() as (url, counting):
        make_bucket(url)
        for way, python in (
            ("smsweep", Path(sys.executable)),
            ("v2", oracle("sagemaker2").python),
            ("v2-config", oracle("sagemaker2").python),
            ("v3", oracle("sagemaker3").python),
        ):
            done = subprocess.run(
                [str(python), str(CLIENT), way, url, BUCKET, str(source), str(n)],
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT / "tests" / "estimators"),
                    "SMSWEEP_DIR": str(folder / "home"),
                    "SMSWEEP_SAGEMAKER_RATES": UNLIMITED,
                },
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(f"{way}: {done.stderr}")
            took_ms = json.loads(done.stdout)
            medians[way] = statistics.median(took_ms)
            print(
                f"  {NAMES[way]:15} {counting.n_requests / n:5.1f} requests {counting.n_bytes / n:11,.0f} bytes up"
                f" {medians[way]:7,.0f} ms ({min(took_ms):,.0f} to {max(took_ms):,.0f})"
            )
    for way in list(medians)[1:]:
        leave("a launch, ms", NAMES[way], medians["smsweep"], medians[way])
        print(f"  {NAMES[way]} takes {medians[way] / medians['smsweep']:.1f} times as long as smsweep")


def write_source(source: Path) -> None:
    """Write a script and files that no compression makes smaller, the same at each run."""
    source.mkdir()
    (source / "train.py").write_text("print('hello')\n")
    chance = random.Random(0)
    for number in range(N_FILES - 1):
        (source / f"data_{number:02}.bin").write_bytes(chance.randbytes(SOURCE_BYTES // (N_FILES - 1)))


def make_bucket(url: str) -> None:
    keys: dict[str, Any] = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
    client.create_bucket(Bucket=BUCKET)


@contextmanager
def served() -> Iterator[tuple[str, Counting]]:
    counting = Counting()
    server = make_server("127.0.0.1", 0, counting, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}", counting
    finally:
        server.shutdown()
        thread.join()


def whole_sweep(folder: Path, n: int) -> None:
    """Run a sweep of do-nothing jobs, ten at a time, with the default settings but for the rate of launches."""
    (folder / "train.py").write_text("print('loss 1')\n")
    os.chdir(folder)
    config = {"program": "train.py", "method": "grid", "parameters": {"x": {"min": 1, "max": n}}}
    with serve.endpoint(folder=folder / "endpoint") as endpoint:
        os.environ.update(
            AWS_ENDPOINT_URL=endpoint.url,
            AWS_ACCESS_KEY_ID="testing",
            AWS_SECRET_ACCESS_KEY="testing",
            AWS_REGION="us-east-1",
            SMSWEEP_DIR=str(folder / "whole"),
            SMSWEEP_SAGEMAKER_RATES="create=10",
        )
        make_bucket(endpoint.url)
        before = len(endpoint.ledger.read())
        job = {
            "image_uri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/own:1",
            "role": "arn:aws:iam::123456789012:role/trainer",
            "instance_type": "ml.m5.large",
            "output_path": f"s3://{BUCKET}/out",
        }
        start = time.perf_counter()
        outcome = run(config, job=job, backend="sagemaker", parallel=10)
        took_s = time.perf_counter() - start
        calls = Counter(entry["action"] for entry in endpoint.ledger.read()[before:])
    print(
        f"a whole sweep of {n} jobs, 10 at a time: {sum(calls.values()) / n:.2f} requests a trial, {took_s:.0f} s"
    )
    print(
        f"  {sum(outcome.ended.values())} ended; "
        + ", ".join(f"{name} {count}" for name, count in calls.most_common())
    )


if __name__ == "__main__":
    main()
