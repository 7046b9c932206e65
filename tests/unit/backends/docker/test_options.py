"""Settings of the Docker backend, and what it has to choose by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.backends.docker.containers import choose_gpu, host_gpus
from smsweep.backends.docker.engine import DEFAULT_IMAGE, DockerOptions
from smsweep.errors import UsageError


def test_without_variables_nothing_is_capped() -> None:
    options = DockerOptions.from_environ({})
    assert (options.image, options.cpus, options.memory_bytes) == (DEFAULT_IMAGE, 0.0, 0)
    assert options.passes_pip_settings


def test_sizes_are_read_as_docker_reads_them() -> None:
    options = DockerOptions.from_environ({"SMSWEEP_DOCKER_MEMORY": "4g", "SMSWEEP_DOCKER_SHM_SIZE": "512m"})
    assert (options.memory_bytes, options.shm_bytes) == (4 << 30, 512 << 20)


@pytest.mark.parametrize("variable", ["SMSWEEP_DOCKER_MEMORY", "SMSWEEP_DOCKER_SHM_SIZE", "SMSWEEP_DOCKER_CPUS"])
def test_a_value_that_cannot_be_read_is_named(variable: str) -> None:
    with pytest.raises(UsageError, match=f"{variable}: expected a .* such as .*, got 'plenty'"):
        DockerOptions.from_environ({variable: "plenty"})


@pytest.mark.parametrize("number", ["nan", "inf", "-1"])
def test_a_number_of_cpus_is_one_there_can_be(number: str) -> None:
    with pytest.raises(UsageError, match=f"SMSWEEP_DOCKER_CPUS: expected a number such as 1.5, got '{number}'"):
        DockerOptions.from_environ({"SMSWEEP_DOCKER_CPUS": number})


def test_a_size_below_nothing_is_none() -> None:
    with pytest.raises(UsageError, match="SMSWEEP_DOCKER_MEMORY: expected a size such as 512m or 4g, got '-5'"):
        DockerOptions.from_environ({"SMSWEEP_DOCKER_MEMORY": "-5"})


def test_gpus_are_found_by_their_devices(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "null"):
        (tmp_path / name).touch()
    assert host_gpus(tmp_path) == ["0", "2", "10"]


def test_the_least_used_gpu_is_chosen() -> None:
    label = "smsweep.gpu"
    assert choose_gpu(["0", "1"], [], label) == "0"
    assert choose_gpu(["0", "1"], [{label: "0"}, {}], label) == "1"
    assert choose_gpu(["0", "1"], [{label: "0"}, {label: "1"}], label) == "0"
    assert choose_gpu([], [], label) == ""
