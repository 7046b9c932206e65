"""Fixtures and settings for all tests."""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from docker import DockerClient
from hypothesis import settings

from tools.docker_engine import NoEngine, connect_ready

TESTS = Path(__file__).parent
settings.register_profile("fast", max_examples=25)  # for `make test-fast`; CI runs 100
SLOWER = ("browser", "docker", "oracle", "slow")
# Expected skips on a complete machine. In CI, every other skip is a missing part, and fails.
SKIPPED_IN_CI = re.compile(
    "SageMaker does not support this|there is no python3|is installed here|is built here|^elsewhere "
    "|came with Python 3|this Python has no filter|is made on request"
)


def pytest_configure() -> None:
    """Let processes that the tests start receive SIGINT.

    A process inherits an ignored signal, for example from a shell that runs the suite in the background.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def package_logging() -> Iterator[None]:
    """Undo the logging setup of the command line, which would hide log records from the next test."""
    logger = logging.getLogger("smsweep")

    def reset() -> None:
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)

    reset()
    yield
    reset()


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the fast, acceptance, AWS and browser tests, and group tests that one xdist worker must run."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
        # Docker tests count and stop the containers of the one engine. Their networks interrupt the requests of a
        # browser (net::ERR_NETWORK_CHANGED). For other files, fixtures are made once.
        is_alone = any(map(item.get_closest_marker, ("browser", "docker")))
        item.add_marker(pytest.mark.xdist_group("engine" if is_alone else item.path.name))
        if (TESTS / "acceptance") in item.path.parents:
            item.add_marker(pytest.mark.acceptance)
        if {TESTS / "sagemaker", TESTS / "security"} & set(item.path.parents):
            item.add_marker(pytest.mark.aws)
        is_unit = item.path.parent == TESTS or (TESTS / "unit") in item.path.parents
        if is_unit and not any(map(item.get_closest_marker, SLOWER)):
            item.add_marker(pytest.mark.fast)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a skipped test in CI, unless its reason is an expected one."""
    report = yield
    if os.environ.get("CI") and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not SKIPPED_IN_CI.search(reason):
            report.outcome = "failed"
            report.longrepr = f"skipped in CI: {reason}"
    return report


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[DockerClient]:
    """A Docker Engine with the base image. Without an engine, tests are skipped, or fail in CI."""
    try:
        client = connect_ready()
    except NoEngine as err:
        if os.environ.get("CI"):
            pytest.fail(str(err))
        pytest.skip(f"{err}; start one with `python -m tools.docker_engine`")
    yield client
    client.close()
