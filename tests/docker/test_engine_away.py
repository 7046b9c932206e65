"""An outage of the Docker Engine does not change the results of jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smsweep.backends.base import Backend
from smsweep.errors import BackendUnavailable
from tests.docker.engine_proxy import ENGINE, EngineProxy
from tests.support.jobs import Jobs

# The docker SDK drops a socket that it cannot connect, and Python complains in its place.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)

COUNT = "import time\nfor number in range(8):\n    print(number, flush=True)\n    time.sleep(0.25)\n"


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[EngineProxy]:
    if not Path(ENGINE).exists():
        pytest.skip(f"the engine is not at {ENGINE}")
    opened = EngineProxy(tmp_path / "engine.sock")
    opened.start()
    yield opened
    opened.cut()


@pytest.fixture
def backend(jobs: Jobs, proxy: EngineProxy) -> Backend:
    jobs.backend = jobs.another(DOCKER_HOST=f"unix://{proxy.path}")
    return jobs.backend


def until_unavailable(backend: Backend, name: str) -> str:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            backend.describe([name])
        except BackendUnavailable as err:
            return str(err)
        time.sleep(0.02)
    raise AssertionError("the outage was not reported")


def test_job_continues_and_its_log_is_complete_after_an_engine_outage(
    jobs: Jobs, backend: Backend, proxy: EngineProxy
) -> None:
    name = jobs.start("away", COUNT)
    jobs.until_says(name, "1")
    proxy.cut()
    assert until_unavailable(backend, name).startswith("the Docker Engine: no socket at ")
    proxy.start()
    deadline = time.monotonic() + 10
    while True:
        try:
            backend.describe([name])
            break
        except BackendUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    done = jobs.finish(name)
    assert done.status.status == "Completed"
    assert done.lines == tuple("01234567")


def test_submit_raises_an_error_during_an_outage_and_can_be_repeated(
    jobs: Jobs, backend: Backend, proxy: EngineProxy
) -> None:
    request = jobs.request("submit", "print('ran')")
    proxy.cut()
    with pytest.raises(BackendUnavailable, match="start Docker"):
        backend.submit(request)
    proxy.start()
    backend.submit(request)
    assert jobs.finish(request["TrainingJobName"]).lines == ("ran",)
