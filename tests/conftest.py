"""Services that several kinds of tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from docker import DockerClient

from tests.engine import NoEngine, connect_ready


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[DockerClient]:
    """A Docker Engine with the base image; without one the test is skipped aloud, in CI it fails."""
    try:
        client = connect_ready()
    except NoEngine as err:
        if os.environ.get("CI"):
            pytest.fail(str(err))
        pytest.skip(f"{err}; `python -m tests.engine` brings one up where it may")
    yield client
    client.close()
