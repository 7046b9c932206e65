"""Cost of launching a trial as a training job, with smsweep and with the SageMaker SDKs, in one run.

A server on loopback (moto) answers all clients, and counts their requests and the bytes of the bodies.
With `--emulator`, the server is smsweep's emulator, which also runs the jobs as processes of this machine,
so that only the counts can be compared.
In the first round, the server adds 50 ms to each request. In the second round, it adds 50 ms to each
round trip, as a network does: two more for a new connection (TCP and TLS 1.3), and one more for a body
after `Expect: 100-continue`. The source has 42 files, 1 MB. smsweep launches from the template of a
sweep. The SDKs use `PyTorch(...).fit(wait=False)` (2) and `ModelTrainer(...).train(wait=False)` (3):
first with a new object per trial, as in a loop over params, then with one object and session for all
trials, which is the fastest way. A function is launched by smsweep and by the SDKs' `@remote`, without
its wait for the job. The SDKs have their default settings, including telemetry. Two checks are off: the
role check of v3, which moto does not support, and the launch rate limit of smsweep, because the SDKs
have no limit. At the end, a complete sweep runs through the local emulator, and its requests are
counted.

    python -m benchmarks.launch_cost [--launches 20] [--sweep 100] [--ways smsweep function v2-remote ...]
        [--emulator]
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import uvicorn
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from uvicorn.middleware.wsgi import WSGIMiddleware  # type: ignore[attr-defined]  # which of two is up to uvicorn

from benchmarks.ratios import keep, leave
from smsweep.services import emulator
from smsweep.services.agents.run_agent import run
from tools.environments import ROOT, oracle

CLIENT = Path(__file__).with_name("launch_clients.py")
N_FILES, SOURCE_BYTES = 42, 1_000_000
ADDED_S = 0.05  # added to each request
BUCKET = "launch-cost"
UNLIMITED = "create=1e6,list=1e6,describe=1e6,stop=1e6,logs=1e6"
NAMES = {
    "smsweep": "smsweep",
    "v2": "SDK v2 fit()",
    "v2-one": "v2, one for all",
    "v2-config": "v2, config file",  # with one object; the SDK validates the file at each setting that it reads
    "v3": "SDK v3 train()",
    "v3-one": "v3, one for all",
    "function": "a function",
    "v2-remote": "v2 @remote",
    "v2-result": "v2, its result",
    "v3-remote": "v3 @remote",
}
KEYS = ("testing", "testing")  # moto accepts all access keys
OF_CONNECTION = (b"connection", b"expect", b"keep-alive", b"transfer-encoding")  # headers that are not forwarded
ONLY_MOTO = "v2-result"
OF_SMSWEEP = ("smsweep", "function", "v2-result")  # not compared with a launch of smsweep


class Forward:
    """ASGI application that sends each request to another server. url: of the server."""

    def __init__(self, url: str) -> None:
        self._server = urlsplit(url).netloc

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, is_complete = b"", False
        while not is_complete:
            message = await receive()
            body += message.get("body", b"")
            is_complete = not message.get("more_body", False)
        status, headers, content = await asyncio.to_thread(self._ask, scope, body)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _ask(self, scope: Any, body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        path = (scope["raw_path"] + query).decode()  # a signature is of the path as the client sent it
        with closing(http.client.HTTPConnection(self._server)) as connection:
            connection.putrequest(scope["method"], path, skip_host=True, skip_accept_encoding=True)
            for name, value in scope["headers"]:
                if name not in OF_CONNECTION:
                    connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.getheaders()]
            kept = [(name, value) for name, value in headers if name not in OF_CONNECTION]
            return response.status, kept, response.read()


class Network:
    """ASGI application in front of a server that delays each request, and counts from /benchmark/begin to /end."""

    def __init__(self, server: Any, *, by_round_trip: bool, is_timed: bool = True) -> None:
        self._server = server
        self.is_timed = is_timed  # False if the server runs the jobs
        self.by_round_trip = by_round_trip
        self._connections: set[object] = set()  # the clients' ends
        self._is_on = False
        self.n_requests = 0
        self.n_connections = 0
        self.n_bytes = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        is_new = tuple(scope["client"]) not in self._connections
        self._connections.add(tuple(scope["client"]))
        if scope["path"].startswith("/benchmark/"):
            self._is_on = scope["path"].endswith("begin")
            if self._is_on:
                self.n_requests = self.n_connections = self.n_bytes = 0
            await no_content(send)
            return
        if self._is_on:
            self.n_requests += 1
            self.n_connections += is_new
            self.n_bytes += int(headers.get(b"content-length", 0))
        more = 2 * is_new + (b"expect" in headers) if self.by_round_trip else 0
        await asyncio.sleep(ADDED_S * (1 + more))
        if scope["path"] == "/telemetry":
            await no_content(send)
        else:
            await self._server(scope, receive, send)


async def no_content(send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ways", nargs="+", choices=NAMES, help="default: all that the server supports")
    parser.add_argument("--launches", type=int, default=20)
    parser.add_argument("--sweep", type=int, default=100, help="trials of the complete sweep; 0 for none")
    parser.add_argument("--emulator", action="store_true", help="count on smsweep's emulator, in one round")
    options = parser.parse_args()
    ways = options.ways or [way for way in NAMES if not (options.emulator and way == ONLY_MOTO)]
    if options.emulator and ONLY_MOTO in ways:
        parser.error(f"{ONLY_MOTO} needs moto, whose jobs complete without a container; choose other --ways")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_source(folder / "source")
        if options.emulator:
            with emulator.run_emulator(folder=folder / "launches") as opened:
                keys = (opened.access_key_id, opened.secret_access_key)
                network = Network(Forward(opened.url), by_round_trip=False, is_timed=False)
                launches(folder, options.launches, ways, network, keys)
        for by_round_trip in () if options.emulator else (False, True):
            moto = WSGIMiddleware(DomainDispatcherApplication(create_backend_app))
            network = Network(moto, by_round_trip=by_round_trip)
            launches(folder, options.launches, ways, network, KEYS)
        if options.sweep:
            whole_sweep(folder, options.sweep)


def launches(folder: Path, n: int, ways: Sequence[str], network: Network, keys: tuple[str, str]) -> None:
    source = folder / "source"
    medians = {}
    what = "round trip" if network.by_round_trip else "request"
    print(f"launch with {N_FILES} source files, {ADDED_S * 1000:.0f} ms added per {what}, {n} launches each:")
    with served(network) as url:
        make_bucket(url, keys)
        for way in ways:
            python = oracle(f"sagemaker{way[1]}").python if way[0] == "v" else Path(sys.executable)
            done = subprocess.run(
                [str(python), str(CLIENT), way, url, BUCKET, str(source), str(n), *keys],
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT / "tests" / "estimators"),
                    "SMSWEEP_DIR": str(folder / f"home by {what}"),
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
            if not network.by_round_trip:
                keep(f"requests of a launch, {NAMES[way]}", network.n_requests / n)
                keep(f"bytes of a launch, {NAMES[way]}", network.n_bytes / n)
            times = f", {medians[way]:7,.0f} ms ({min(took_ms):,.0f} to {max(took_ms):,.0f})"
            print(
                f"  {NAMES[way]:15} {network.n_requests / n:5.1f} requests, {network.n_connections / n:4.1f} on a"
                f" new connection, {network.n_bytes / n:11,.0f} bytes sent{times if network.is_timed else ''}"
            )
    for way in ways if "smsweep" in ways and network.is_timed else ():
        if way in OF_SMSWEEP:
            continue
        leave(f"a launch, ms; 50 ms per {what}", NAMES[way], medians["smsweep"], medians[way])
        print(f"  {NAMES[way]} takes {medians[way] / medians['smsweep']:.1f} times as long as smsweep")


def write_source(source: Path) -> None:
    """Write a script and incompressible files. The content is the same in each run."""
    source.mkdir()
    (source / "train.py").write_text("print('hello')\n")
    chance = random.Random(0)
    for number in range(N_FILES - 1):
        (source / f"data_{number:02}.bin").write_bytes(chance.randbytes(SOURCE_BYTES // (N_FILES - 1)))


def make_bucket(url: str, keys: tuple[str, str]) -> None:
    session = boto3.Session(*keys, region_name="us-east-1")
    client = session.client("s3", endpoint_url=url)
    client.create_bucket(Bucket=BUCKET)


@contextmanager
def served(network: Network) -> Iterator[str]:
    config = uvicorn.Config(network, port=0, lifespan="off", log_level="critical", timeout_keep_alive=60)
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # of each connection, too
    listener.listen()  # requests wait for the thread
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def whole_sweep(folder: Path, n: int) -> None:
    """Run a sweep of empty jobs, ten at a time, with the default settings except for the launch rate."""
    (folder / "train.py").write_text("print('loss 1')\n")
    os.chdir(folder)
    config = {"program": "train.py", "method": "grid", "parameters": {"x": {"min": 1, "max": n}}}
    with emulator.run_emulator(folder=folder / "emulator") as opened:
        os.environ.update(
            opened.environ,
            SMSWEEP_DIR=str(folder / "whole"),
            SMSWEEP_SAGEMAKER_RATES="create=10",
        )
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        before = len(opened.ledger.read())
        job = {
            "image_uri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/own:1",
            "role": "arn:aws:iam::123456789012:role/trainer",
            "instance_type": "ml.m5.large",
            "output_path": f"s3://{BUCKET}/out",
        }
        start = time.perf_counter()
        outcome = run(config, job=job, backend="sagemaker", parallel=10)
        took_s = time.perf_counter() - start
        calls = Counter(entry["action"] for entry in opened.ledger.read()[before:])
    print(f"a sweep of {n} jobs, 10 at a time: {sum(calls.values()) / n:.2f} requests per trial, {took_s:.0f} s")
    print(
        f"  {sum(outcome.ended.values())} ended; "
        + ", ".join(f"{name} {count}" for name, count in calls.most_common())
    )


if __name__ == "__main__":
    main()
