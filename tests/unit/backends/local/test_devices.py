"""The devices that an agent may use: device files, drivers, variables, control groups."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from smsweep.backends.local.devices import (
    AMD,
    Device,
    Pool,
    _cgroup_limits,
    check_machine,
    device_variables,
    find_gpus,
    find_pool,
    warn_without_gpu,
)
from smsweep.core.job import JobTemplate
from smsweep.core.resources import GIB, Resources
from smsweep.errors import JobRejected
from tests.support.markdown import ROOT

POOL = Pool(
    gpus=tuple(Device(key=n, number=n) for n in "0123"), cpus=tuple(range(16)), n_cpus=16, memory_bytes=64 * GIB
)
# NVIDIA's library with two devices, or with only the second if ONLY_MIG is set. The second has two MIG devices.
# Handles are the addresses of `all`.
NVML = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int all[4];
static int index_of(void *handle) { return (int)((int *)handle - all); }
int nvmlInitWithFlags(unsigned flags) { return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return "not found"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = getenv("ONLY_MIG") ? 1 : 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = &all[getenv("ONLY_MIG") ? 1 : index];
    return 0;
}
int nvmlDeviceGetName(void *handle, char *name, unsigned size) { strncpy(name, "NVIDIA Stub", size); return 0; }
int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned size) {
    int index = index_of(handle);
    snprintf(uuid, size, "%s-%08d-stub", index < 2 ? "GPU" : "MIG", index);
    return 0;
}
int nvmlDeviceGetMigMode(void *handle, unsigned *now, unsigned *pending) {
    if (index_of(handle) == 0) return 3; /* NVML_ERROR_NOT_SUPPORTED */
    *now = *pending = 1;
    return 0;
}
int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count) { *count = 7; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **part) {
    if (index > 1) return 6; /* NVML_ERROR_NOT_FOUND */
    *part = &all[2 + index];
    return 0;
}
"""
SHOW = """
import os
from smsweep.backends.local.devices import find_gpus
print(*(device.number for device in find_gpus(os.environ)))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root folder of a machine with four NVIDIA devices, without a driver folder."""
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidia10", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / "dev" / name).touch()
    return tmp_path


def numbers(devices: tuple[Device, ...]) -> list[str]:
    return [device.number for device in devices]


def test_device_files_are_devices(root: Path) -> None:
    assert numbers(find_gpus({}, root)) == ["0", "1", "2", "3"]


def test_devices_of_a_container_have_the_numbers_of_cuda(tmp_path: Path) -> None:
    """CUDA counts the devices that a process can open, in the order of PCI buses."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia2").symlink_to("missing")  # as a device that a control group hides, it cannot be opened
    for minor, bus in (("3", "0000:5e:00.0"), ("5", "0000:3b:00.0")):
        (tmp_path / f"dev/nvidia{minor}").touch()
        folder = tmp_path / "proc/driver/nvidia/gpus" / bus
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"GPU UUID: \t GPU-{minor}\nDevice Minor: \t {minor}\n")
    devices = find_gpus({}, tmp_path)
    assert [(device.number, device.key) for device in devices] == [("0", "GPU-5"), ("1", "GPU-3")]


def test_mig_devices_of_a_variable_need_no_nvidia_library(root: Path) -> None:
    environ = {"CUDA_VISIBLE_DEVICES": "MIG-12,MIG-34"}
    assert numbers(find_gpus(environ, root)) == ["MIG-12", "MIG-34"]
    (root / "dev").rename(root / "other")
    assert find_gpus(environ, root) == ()


def test_machine_without_device_files_has_no_gpus(tmp_path: Path) -> None:
    assert find_gpus({}, tmp_path) == ()


def test_driver_folder_has_uuids_of_devices(root: Path) -> None:
    folder = root / "proc/driver/nvidia/gpus/0000:3b:00.0"
    folder.mkdir(parents=True)
    (folder / "information").write_text("Model: \t Stub\nGPU UUID: \t GPU-12ab-34\nDevice Minor: \t 1\n")
    assert find_gpus({"CUDA_VISIBLE_DEVICES": "GPU-12"}, root) == (Device(key="GPU-12ab-34", number="1"),)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CUDA_VISIBLE_DEVICES": "2,0"}, ["2", "0"]),
        ({"CUDA_VISIBLE_DEVICES": "0,0"}, ["0"]),
        ({"CUDA_VISIBLE_DEVICES": "0,7,1"}, ["0"]),  # as in CUDA, an unknown device ends the list
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, []),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "1,2"}, ["1", "2"]),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "1,2", "SLURM_STEP_GPUS": "2"}, ["2"]),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "1,2", "CUDA_VISIBLE_DEVICES": "0"}, ["0"]),
        ({"SLURM_JOB_GPUS": "1,2"}, ["0", "1", "2", "3"]),  # not in a SLURM job
        ({"SMSWEEP_DEVICES": "1, 10"}, ["1", "10"]),
        ({"SMSWEEP_DEVICES": "a,b"}, ["a", "b"]),
        ({"SMSWEEP_DEVICES": "none"}, []),
        ({"SMSWEEP_DEVICES": "1,1,0"}, ["1", "0"]),
        ({"SMSWEEP_DEVICES": "0,-1,1"}, ["0"]),  # as in CUDA
    ],
)
def test_variables_limit_devices(root: Path, variables: dict[str, str], expected: list[str]) -> None:
    assert numbers(find_gpus(variables, root)) == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ["0", "1"]),
        ({"ROCR_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"HIP_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"ROCR_VISIBLE_DEVICES": "1,0", "HIP_VISIBLE_DEVICES": "0"}, ["1"]),  # HIP counts what ROCR selects
        ({"HIP_VISIBLE_DEVICES": ""}, []),
    ],
)
def test_amd_devices_are_nodes_with_compute_units(
    tmp_path: Path, variables: dict[str, str], expected: list[str]
) -> None:
    (tmp_path / "dev/dri").mkdir(parents=True)
    (tmp_path / "dev/kfd").touch()
    for node, (units, minor) in enumerate([(0, 0), (304, 128), (304, 136), (304, 144)]):
        folder = tmp_path / f"sys/class/kfd/kfd/topology/nodes/{node}"
        folder.mkdir(parents=True)
        (folder / "properties").write_text(f"simd_count {units}\ndrm_render_minor {minor}\nunique_id {node}\n")
        if minor in (128, 136):  # this process may not use the third device
            (tmp_path / f"dev/dri/renderD{minor}").touch()
    devices = find_gpus(variables, tmp_path)
    assert numbers(devices) == expected
    assert all(device.vendor == AMD and device.files[0] == "/dev/kfd" for device in devices)


@pytest.mark.skipif(not (shutil.which("cc") and ctypes.util.find_library("c")), reason="there is no C compiler")
@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ({}, "0 MIG-00000002-stub MIG-00000003-stub"),
        ({"CUDA_VISIBLE_DEVICES": "MIG-00000003-stub,0"}, "MIG-00000003-stub 0"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-00000000"}, "0"),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ""),  # CUDA cannot use a device whose MIG is enabled
        ({"ONLY_MIG": "1", "CUDA_VISIBLE_DEVICES": "0"}, "MIG-00000002-stub"),  # CUDA then counts one part
        ({"ONLY_MIG": "1", "CUDA_VISIBLE_DEVICES": "1"}, ""),
    ],
)
def test_nvidia_library_lists_devices_and_mig_devices(
    tmp_path: Path, visible: dict[str, str], expected: str
) -> None:
    source, library = tmp_path / "nvml.c", tmp_path / "libnvidia-ml.so.1"
    source.write_text(NVML)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LD_LIBRARY_PATH": str(tmp_path), **visible}
    done = subprocess.run([sys.executable, "-c", SHOW], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


@pytest.mark.parametrize(
    ("resources", "n_trials"),
    [
        (Resources(gpus=1), 4),
        (Resources(gpus=2), 2),
        (Resources(gpus=3), 1),
        (Resources(gpus=5), 0),
        (Resources(gpus=0.5), 8),
        (Resources(gpus=1 / 3), 12),
        (Resources(gpus=0.4), 8),
        (Resources(gpus=1, cpus=8), 2),
        (Resources(gpus=1, memory_bytes=20 * GIB), 3),
        (Resources(cpus=4), 4),
        (Resources(gpus=0), 16),
        (Resources(), 16),
    ],
)
def test_pool_has_slots_for_trials(resources: Resources, n_trials: int) -> None:
    assert POOL.slots(resources) == n_trials


@pytest.mark.parametrize(
    ("resources", "problem"),
    [
        (Resources(gpus=5), "5 GPUs, but this agent may use 4"),
        (Resources(cpus=17, gpus=5), "5 GPUs, but this agent may use 4; 17 CPUs, but this agent may use 16"),
        (Resources(cpus=17), "17 CPUs, but this agent may use 16"),
        (Resources(memory_bytes=65 * GIB), "65 GiB memory, but this agent may use 64 GiB memory"),
        (Resources(gpus=4, cpus=16, memory_bytes=64 * GIB), ""),
    ],
)
def test_pool_reports_what_a_trial_misses(resources: Resources, problem: str) -> None:
    assert POOL.missing(resources) == problem


def test_missing_gpu_is_singular() -> None:
    pool = replace(POOL, gpus=(), n_cpus=0)
    expected = "1 GPU, but this agent may use 0; 1 CPU, but this agent may use 0"
    assert pool.missing(Resources(gpus=0.5, cpus=1)) == expected


def test_trial_that_never_fits_is_refused() -> None:
    template = JobTemplate(resources=Resources(gpus=3))
    with pytest.raises(JobRejected, match="needs 3 GPUs, but this agent may use 2"):
        check_machine(template, {"SMSWEEP_DEVICES": "0,1"})
    check_machine(template, {"SMSWEEP_DEVICES": "0,1,2"})


def test_variables_show_devices_of_each_vendor() -> None:
    mig = Device(key="MIG-1", number="MIG-1")
    assert device_variables([POOL.gpus[2], mig])["CUDA_VISIBLE_DEVICES"] == "2,MIG-1"
    amd = [Device(key=f"GPU-{n}", number=n, vendor=AMD) for n in "46"]
    assert device_variables(amd) == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "0,1",
        "ROCR_VISIBLE_DEVICES": "4,6",
        "HIP_VISIBLE_DEVICES": "0,1",
    }
    assert device_variables(None) == {}


def test_variables_without_devices_hide_all() -> None:
    names = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
    assert {name: device_variables([])[name] for name in names} == dict.fromkeys(names, "")


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000", "a/memory.max": "1000"}, (2, 1000)),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/b/memory.max": "max"}, None),
        ("0::/\n", {"cpu.max": "400000 100000"}, (4, None)),
        ("0::/gone\n", {"memory.max": "2000"}, (None, 2000)),  # a container sees its own group as the root
        (
            "4:memory:/a\n1:cpu,cpuacct:/a\n",
            {
                "memory/a/memory.limit_in_bytes": "3000",
                "cpu/a/cpu.cfs_quota_us": "50000",
                "cpu/a/cpu.cfs_period_us": "100000",
            },
            (1, 3000),
        ),
    ],
)
def test_control_groups_limit_cpus_and_memory(
    tmp_path: Path, groups: str, files: dict[str, str], expected: tuple[int | None, int | None] | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    own = tmp_path / "cgroup"
    own.write_text(groups)
    limits = list(_cgroup_limits(own, tmp_path))
    quota, memory = min(each[1] for each in limits), min(each[2] for each in limits)
    never = 1 << 60
    assert (quota if quota < never else None, memory if memory < never else None) == (expected or (None, None))


def test_slurm_allocation_limits_cpus_and_memory() -> None:
    whole = find_pool({})
    pool = find_pool({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "1", "SLURM_MEM_PER_NODE": "100"})
    assert (pool.n_cpus, pool.memory_bytes, pool.group) == (1, 100 << 20, "slurm-7")
    per_cpu = find_pool({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "1", "SLURM_MEM_PER_CPU": "50"})
    assert per_cpu.memory_bytes == 50 << 20
    assert find_pool({"SLURM_JOB_ID": "7"}).memory_bytes == whole.memory_bytes
    assert whole.n_cpus >= 1
    assert whole.memory_bytes > 100 << 20


@pytest.mark.parametrize(
    ("resources", "named"),
    [
        ({"InstanceType": "ml.g5.xlarge"}, "ml.g5.xlarge"),
        (
            {"InstanceGroups": [{"InstanceType": "ml.c5.xlarge"}, {"InstanceType": "ml.p3.2xlarge"}]},
            "ml.p3.2xlarge",
        ),
        ({"InstanceType": "ml.m5.large"}, ""),
        ({"InstanceType": "ml.trn1.2xlarge"}, ""),
    ],
)
def test_gpu_instance_type_on_a_machine_without_gpu_is_a_warning(
    resources: dict[str, object], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_without_gpu({"ResourceConfig": resources}, {"SMSWEEP_DEVICES": "none"})
    assert caplog.messages == (
        [f"instance type {named} has GPUs, but this machine has none; the script runs on the CPU"] if named else []
    )
