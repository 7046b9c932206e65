"""Overhead of a trial in a container, compared with the container alone.

    python -m benchmarks.docker_overhead [--rounds 10] [--trials 50] [--sagemaker PYTHON]

The peers alternate in one run. The first peer is the Docker SDK, which creates and starts a container with
the same script and image. The second peer is the local mode of the SageMaker SDK 2.x. It runs if an
interpreter with that SDK is specified and Docker Compose is installed: with an estimator per trial, as in a
loop over params, and with one estimator for all trials. Local mode runs in the same image, where our
runtime reads the input of the script, and in an image with AWS's training toolkit, like the images of AWS.
The script prints the clock at its start and at its end, and the times come from this output. A second part
runs short trials, two at a time.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from docker import DockerClient

from benchmarks.ratios import leave
from smsweep.backends.docker.backend import DockerBackend
from smsweep.source.runtime_zip import runtime_zip
from tests.support.training_toolkit import ensure_toolkit_image

IMAGE = "smsweep-benchmark"
TOOLKIT_IMAGE = "smsweep-benchmark-toolkit"
COMPILED = "FROM {}\nRUN python3 -m compileall -qq /opt/toolkit || true\n"  # like an installation
PARALLEL = 2
SCRIPT = "import time\nprint('first', time.time(), flush=True)\nprint('last', time.time(), flush=True)\n"
LOCAL_MODE = """
import sys, time
from sagemaker.estimator import Estimator
from sagemaker.local import LocalSession

def make(number):
    session = LocalSession()
    session.config = {"local": {"local_code": True}}
    return Estimator(
        image_uri=sys.argv[1], role="arn:aws:iam::000000000000:role/none", instance_type="local", instance_count=1,
        entry_point="train.py", source_dir=sys.argv[2], sagemaker_session=session,
        output_path="file://" + sys.argv[3], hyperparameters={"number": number},
    )

one_for_all = make(0) if sys.argv[4] == "one for all" else None
for number in range(int(sys.argv[5])):
    print("called", time.time(), flush=True)
    (one_for_all or make(number)).fit()
    print("returned", time.time(), flush=True)
"""
NO_AWS = {  # the SDK needs a region and keys; its telemetry to AWS is off
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
}
SAID = re.compile(r"\b(called|first|last|returned) ([0-9]+\.[0-9]+)")

Span = tuple[float, float]  # seconds from the call to the script's first line, and from its last line to the end


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--base", default="smsweep-test-base", help="base image of the benchmark's image")
    parser.add_argument("--sagemaker", default="", help="path of a Python that can import the SageMaker SDK 2.x")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, closing(DockerClient.from_env()) as client:
        root = Path(__file__).parents[1]
        client.images.build(
            path=str(root), dockerfile="container/Dockerfile", buildargs={"BASE": options.base}, tag=IMAGE, rm=True
        )
        bench = Bench(Path(name), client)
        bench.compare_one(options.rounds, options.sagemaker)
        bench.compare_many(options.trials)
        bench.backend.close()


class Bench:
    def __init__(self, folder: Path, client: DockerClient) -> None:
        self._folder = folder
        self._client = client
        self._numbers = iter(range(1_000_000))
        self._assets = folder / "assets"
        self._assets.mkdir()
        (self._assets / "runtime.zip").write_bytes(runtime_zip())
        (self._assets / "train.py").write_text(SCRIPT)
        member = tarfile.TarInfo("train.py")
        member.size = len(SCRIPT)
        with tarfile.open(self._assets / "source.tar.gz", "w:gz") as tar:
            tar.addfile(member, io.BytesIO(SCRIPT.encode()))
        self.backend = DockerBackend(folder / "jobs", dict(os.environ), time.time)

    def compare_one(self, rounds: int, sagemaker: str) -> None:
        """Run one trial at a time, with alternating peers. The first trial of each peer is a warm-up."""
        peers: dict[str, Callable[[], Span]] = {"docker SDK, bare": self.bare, "smsweep": self.smsweep}
        spans: dict[str, list[Span]] = {peer: [] for peer in peers}
        for number in range(rounds + 1):
            for peer, run in peers.items():
                span = run()
                if number:
                    spans[peer].append(span)
        if sagemaker:
            toolkit = self.toolkit_image()
            for peer, image, estimator in (
                ("SDK's local mode", IMAGE, "each its own"),
                ("one estimator for all", IMAGE, "one for all"),
                ("local mode, AWS's toolkit", toolkit, "each its own"),
                ("one for all, AWS's toolkit", toolkit, "one for all"),
            ):
                spans[peer] = list(self.local_mode(sagemaker, image, estimator, rounds + 1))[1:]
        print(f"{'one trial':28}{'to first line':>20}{'from last line':>16}{'both':>10}{'ratio':>8}")
        base = median(sum(span) for span in spans["docker SDK, bare"])
        for peer, found in spans.items():
            both = median(sum(span) for span in found)
            first, last = (median(column) for column in zip(*found, strict=True))
            print(f"{peer:28}{first:>18.3f} s{last:>14.3f} s{both:>8.3f} s{both / base:>8.2f}")
            if peer != "smsweep":
                leave("a container's overhead, s", peer, median(sum(span) for span in spans["smsweep"]), both)

    def compare_many(self, trials: int) -> None:
        bare, ours = self._time(self.many_bare, trials), self._time(self.many_smsweep, trials)
        print(f"\n{trials} trials, {PARALLEL} at a time")
        leave(f"{trials} trials in containers, s", "docker SDK, bare", ours, bare)
        for peer, seconds in (("docker SDK, bare", bare), ("smsweep", ours)):
            print(f"{peer:28}{seconds:>18.1f} s{trials / seconds:>10.2f} trials/s{seconds / bare:>8.2f}")

    def bare(self) -> Span:
        called_at = time.time()
        mounts = [f"{self._assets}:/opt/ml/code:ro"]
        container = self._client.containers.create(IMAGE, ["python3", "/opt/ml/code/train.py"], volumes=mounts)
        container.start()
        container.wait()
        output = container.logs().decode()
        container.remove()
        return span(called_at, output, time.time())

    def smsweep(self) -> Span:
        called_at = time.time()
        name = self._submit()
        while not self.backend.describe([name])[name].is_terminal:
            self.backend.wait(0.05)
        lines = self.backend.read_logs(name).lines
        ended_at = time.time()
        return span(called_at, "\n".join(lines), ended_at)

    def toolkit_image(self) -> str:
        base = ensure_toolkit_image(self._client, self._folder / "toolkit")
        self._client.images.build(fileobj=io.BytesIO(COMPILED.format(base).encode()), tag=TOOLKIT_IMAGE, rm=True)
        return TOOLKIT_IMAGE

    def local_mode(self, python: str, image: str, estimator: str, rounds: int) -> Iterator[Span]:
        script = self._folder / "local_mode.py"
        script.write_text(LOCAL_MODE)
        results = str(self._folder / "local")
        command = [python, str(script), image, str(self._assets), results, estimator, str(rounds)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **NO_AWS})
        for left in self._client.containers.list(all=True, filters={"ancestor": image, "name": "-algo-1-"}):
            left.remove()  # the SDK does not remove it
        if done.returncode:
            sys.exit(f"the SageMaker SDK's local mode failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        found: dict[str, float] = {}
        for word, at in SAID.findall(done.stdout):
            found[word] = float(at)
            if word == "returned":
                yield found["first"] - found["called"], found["returned"] - found["last"]

    def many_bare(self, trials: int) -> None:
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(lambda _: self.bare(), range(trials)))

    def many_smsweep(self, trials: int) -> None:
        started, running = 0, set[str]()
        while started < trials or running:
            while started < trials and len(running) < PARALLEL:
                running.add(self._submit())
                started += 1
            found = self.backend.describe(running)
            ended = {name for name in running if found[name].is_terminal}
            if not ended:
                self.backend.wait(0.05)
            running -= ended

    def _submit(self) -> str:
        name = f"benchmark-{os.getpid()}-{next(self._numbers)}"
        self.backend.submit(request(name, self._assets, self._folder))
        return name

    def _time(self, run: Callable[[int], None], trials: int) -> float:
        begun_at = time.perf_counter()
        run(trials)
        return time.perf_counter() - begun_at


def span(called_at: float, log: str, ended_at: float) -> Span:
    output = dict(SAID.findall(log))
    return float(output["first"]) - called_at, ended_at - float(output["last"])


def request(name: str, assets: Path, folder: Path) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "/opt/ml/input/data/smsweep/runtime.zip"],
        },
        "HyperParameters": {"sagemaker_program": json.dumps("train.py")},
        "InputDataConfig": [
            {
                "ChannelName": "smsweep",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"{assets.as_uri()}/"}},
            }
        ],
        "OutputDataConfig": {"S3OutputPath": (folder / "results").as_uri()},
        "CheckpointConfig": {"S3Uri": (folder / "checkpoints" / name).as_uri()},
    }


if __name__ == "__main__":
    main()
