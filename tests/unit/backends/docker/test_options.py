"""Settings of the Docker backend, and the choice of a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.backends.docker.containers import host_gpus
from smsweep.backends.docker.engine import DEFAULT_IMAGE, DockerOptions
from smsweep.errors import UsageError


def test_options_have_no_limits_by_default() -> None:
    options = DockerOptions.from_environ({})
    assert (options.image, options.cpus, options.memory_bytes) == (DEFAULT_IMAGE, 0.0, 0)
    assert options.passes_pip_settings


def test_sizes_have_dockers_units() -> None:
    options = DockerOptions.from_environ({"SMSWEEP_DOCKER_MEMORY": "4g", "SMSWEEP_DOCKER_SHM_SIZE": "512m"})
    assert (options.memory_bytes, options.shm_bytes) == (4 << 30, 512 << 20)


@pytest.mark.parametrize("variable", ["SMSWEEP_DOCKER_MEMORY", "SMSWEEP_DOCKER_SHM_SIZE", "SMSWEEP_DOCKER_CPUS"])
def test_invalid_value_is_reported_with_its_variable(variable: str) -> None:
    with pytest.raises(UsageError, match=f"{variable}: expected a .* such as .*, got 'plenty'"):
        DockerOptions.from_environ({variable: "plenty"})


@pytest.mark.parametrize("number", ["nan", "inf", "-1"])
def test_invalid_number_of_cpus_is_rejected(number: str) -> None:
    with pytest.raises(UsageError, match=f"SMSWEEP_DOCKER_CPUS: expected a number such as 1.5, got '{number}'"):
        DockerOptions.from_environ({"SMSWEEP_DOCKER_CPUS": number})


def test_negative_size_is_rejected() -> None:
    with pytest.raises(UsageError, match="SMSWEEP_DOCKER_MEMORY: expected a size such as 512m or 4g, got '-5'"):
        DockerOptions.from_environ({"SMSWEEP_DOCKER_MEMORY": "-5"})


def test_hostname_of_all_containers_is_checked() -> None:
    assert DockerOptions.from_environ({"SMSWEEP_DOCKER_HOSTNAME": "aws"}).hostname == "aws"
    with pytest.raises(UsageError, match="SMSWEEP_DOCKER_HOSTNAME: expected a host name such as aws, got 'a b'"):
        DockerOptions.from_environ({"SMSWEEP_DOCKER_HOSTNAME": "a b"})


def test_host_gpus_lists_nvidia_devices_in_order(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "null"):
        (tmp_path / name).touch()
    assert host_gpus(tmp_path) == ["0", "2", "10"]
