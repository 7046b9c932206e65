"""The devices of this machine that an agent may use: GPUs, CPU cores and memory."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any

from smsweep.core.job import JobTemplate, TrainingJobRequest
from smsweep.core.resources import Resources, format_memory
from smsweep.errors import JobRejected
from smsweep.util.terminal_text import counted

log = logging.getLogger(__name__)

GPU_INSTANCE = re.compile(r"ml\.(?:g|gr|p)\d")  # the families of SageMaker with NVIDIA GPUs
VARIABLE = "SMSWEEP_DEVICES"  # the GPUs to use, instead of those that smsweep finds
NVIDIA, AMD = "NVIDIA", "AMD"
NO_DEVICES = ("", "-1", "none", "nodevfiles", "void")  # of a visible-devices variable
_FILE = re.compile(r"nvidia(\d+)")  # device files; a container has only those that it may use
_MINOR = re.compile(r"Device Minor:\s*(\d+)")
_UUID = re.compile(r"GPU UUID:\s*(GPU-[0-9a-fA-F-]+)")
NO_LIMIT = 1 << 62
EPSILON = 1e-9  # three trials with 1/3 of a device share it


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """One GPU, or one MIG device of a GPU."""

    key: str  # identifies the device for all agents of this machine: its UUID, or else the number of its file
    number: str  # its number in the order of PCI buses; its UUID for a MIG device
    vendor: str = NVIDIA
    name: str = ""  # such as NVIDIA H100 80GB HBM3; "" if unknown
    files: tuple[str, ...] = ()  # of an AMD device; containers need them


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """What the agents of this process may use.

    `group` names the control group or SLURM job whose limits `n_cpus` and `memory_bytes` are. Agents outside it do
    not use up these limits. "" for the limits of the machine.
    """

    gpus: tuple[Device, ...]
    cpus: tuple[int, ...]  # numbers of the cores
    n_cpus: int  # how many of them can be used at the same time; less than len(cpus) with a quota
    memory_bytes: int
    group: str = ""

    def slots(self, resources: Resources) -> int:
        """Return how many trials with these resources fit at the same time; 0 if none does."""
        counts = []
        if resources.gpus:
            whole, share = resources.n_devices, resources.gpus
            n_gpus = len(self.gpus)
            counts.append(n_gpus // whole if share >= 1 else n_gpus * int(1 / share + EPSILON))
        cpus = resources.cpus or (None if resources.gpus else 1)  # trials without GPUs need a core each
        if cpus:
            counts.append(self.n_cpus // cpus)
        if resources.memory_bytes:
            counts.append(self.memory_bytes // resources.memory_bytes)
        return min(counts, default=0)

    def missing(self, resources: Resources) -> str:
        """Return what a trial needs and this pool does not have; "" if the trial can run."""
        problems = []
        if resources.n_devices > len(self.gpus):
            needed = counted(resources.n_devices, "GPU")
            problems.append(f"{needed}, but this agent may use {len(self.gpus)}")
        if (resources.cpus or 0) > self.n_cpus:
            problems.append(f"{counted(resources.cpus or 0, 'CPU')}, but this agent may use {self.n_cpus}")
        if (resources.memory_bytes or 0) > self.memory_bytes:
            least = format_memory(resources.memory_bytes or 0)
            problems.append(f"{least}, but this agent may use {format_memory(self.memory_bytes)}")
        return "; ".join(problems)

    def __str__(self) -> str:
        gpus = ", ".join(f"{gpu.number}{f' ({gpu.name})' if gpu.name else ''}" for gpu in self.gpus)
        n_gpus = f"{len(self.gpus)} GPU{'' if len(self.gpus) == 1 else 's'}"
        n_cpus = f"{self.n_cpus} CPU{'' if self.n_cpus == 1 else 's'}"
        return f"{n_gpus}{f': {gpus}' if gpus else ''}; {n_cpus}; {format_memory(self.memory_bytes)}"


def check_fits(resources: Resources, pool: Pool) -> None:
    """Raise JobRejected if a trial with these resources can never run with this pool."""
    if missing := pool.missing(resources):
        raise JobRejected(
            f"resources_per_trial: a trial needs {missing}; lower resources_per_trial, or use a larger machine "
            "(`smsweep doctor` lists the devices)"
        )


def warn_without_gpu(request: TrainingJobRequest, environ: Mapping[str, str]) -> None:
    """Log a warning if a job's instance type has GPUs, but this machine has none."""
    resources = request.get("ResourceConfig", {})
    groups = [resources, *resources.get("InstanceGroups", ()), *resources.get("InstancePreferences", ())]
    types = {str(group.get("InstanceType", "")) for group in groups}
    wanted = sorted(name for name in types if GPU_INSTANCE.match(name))
    if wanted and not find_gpus(environ):
        log.warning(
            "instance type %s has GPUs, but this machine has none; the script runs on the CPU", ", ".join(wanted)
        )


def check_machine(template: JobTemplate, environ: Mapping[str, str], *, pulls: bool = False) -> None:
    """Check that this machine can run trials with the template's resources. See `base.CheckMachine`."""
    del pulls
    warn_without_gpu(template.request, environ)
    if not template.resources.is_empty:
        check_fits(template.resources, find_pool(environ))


def find_pool(environ: Mapping[str, str]) -> Pool:
    """Return what a process with these variables may use.

    GPUs are those that the driver or the device files show, without those that a visible-devices variable or a
    SLURM allocation excludes. `SMSWEEP_DEVICES` replaces the search.

    Args:
        environ: The environment variables of the agent.
    """
    cpus = tuple(range(os.cpu_count() or 1))
    if sys.platform == "linux":
        cpus = tuple(sorted(os.sched_getaffinity(0)))
    n_cpus, memory_bytes, group = len(cpus), _machine_memory(), ""
    for path, quota, limit in _cgroup_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")):
        if quota < n_cpus or limit < memory_bytes:
            n_cpus, memory_bytes, group = min(n_cpus, quota), min(memory_bytes, limit), path
    if job := environ.get("SLURM_JOB_ID"):
        n_cpus = min(n_cpus, _whole(environ.get("SLURM_CPUS_ON_NODE"), n_cpus))
        per_cpu_mib = _whole(environ.get("SLURM_MEM_PER_CPU"), 0)  # of --mem-per-cpu, instead of the next variable
        limit_mib = _whole(environ.get("SLURM_MEM_PER_NODE"), per_cpu_mib * n_cpus)
        memory_bytes = min(memory_bytes, limit_mib << 20) if limit_mib else memory_bytes
        group = f"slurm-{job}"
    return Pool(gpus=find_gpus(environ), cpus=cpus, n_cpus=n_cpus, memory_bytes=memory_bytes, group=group)


def find_gpus(environ: Mapping[str, str], root: Path = Path("/")) -> tuple[Device, ...]:
    """Return the GPUs that a process with these variables may use, in the order of their numbers.

    Args:
        environ: The environment variables.
        root: The root folder of the device files, for tests.
    """
    chosen = environ.get(VARIABLE)
    if chosen is not None and chosen.strip().lower() in NO_DEVICES:
        return ()
    of_library = _nvml_devices() if root == Path("/") else ()
    nvidia = of_library or tuple(_nvidia_files(root))
    amd = tuple(_amd_files(root))
    if chosen is not None:
        known = (*nvidia, *amd)
        devices = (
            next((device for device in known if _matches(device, text)), Device(key=text, number=text))
            for text in takewhile(lambda text: text != "-1", _split(chosen))  # as in CUDA, -1 ends the list
        )
        return tuple(dict.fromkeys(devices))
    visible = _split(environ.get("CUDA_VISIBLE_DEVICES", ""))
    if nvidia and not of_library and visible and all(text.upper().startswith("MIG-") for text in visible):
        nvidia = tuple(Device(key=text, number=text) for text in dict.fromkeys(visible))  # no file names them
    nvidia = _visible(nvidia, environ, "CUDA_VISIBLE_DEVICES")
    if "CUDA_VISIBLE_DEVICES" not in environ and environ.get("SLURM_JOB_ID"):
        for name in ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS"):  # SLURM does not hide devices without ConstrainDevices
            if name in environ:
                nvidia, amd = _visible(nvidia, environ, name), _visible(amd, environ, name)
                break
    amd = _visible(amd, environ, "ROCR_VISIBLE_DEVICES")
    if "HIP_VISIBLE_DEVICES" in environ:  # its numbers count the devices that ROCR_VISIBLE_DEVICES selects
        texts = _split(environ["HIP_VISIBLE_DEVICES"])
        amd = tuple(amd[int(text)] for text in texts if text.isdecimal() and int(text) < len(amd))
    return (*nvidia, *amd)


def device_variables(gpus: Sequence[Device] | None) -> dict[str, str]:
    """Return the variables that show only these devices to a process. Without devices, they hide all.

    NVIDIA's devices have numbers (MIG devices have UUIDs), for which CUDA must count in the order of PCI buses.
    ROCm filters twice: the numbers of HIP count the devices that ROCR selects.

    Args:
        gpus: The devices. None if the process inherits the agent's variables.
    """
    if gpus is None:
        return {}
    nvidia = [gpu.number for gpu in gpus if gpu.vendor == NVIDIA]
    amd = [gpu.number for gpu in gpus if gpu.vendor == AMD]
    hip = ",".join(str(index) for index in range(len(amd)))
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(nvidia) or hip,  # PyTorch reads it on ROCm too, as HIP's variable
        "ROCR_VISIBLE_DEVICES": ",".join(amd),
        "HIP_VISIBLE_DEVICES": hip,
    }


def _visible(devices: tuple[Device, ...], environ: Mapping[str, str], name: str) -> tuple[Device, ...]:
    """Return the devices that a variable names. As in CUDA, the first unknown name ends the list."""
    if name not in environ:
        return devices
    selected: list[Device] = []
    for text in _split(environ[name]):
        device = next((each for each in devices if _matches(each, text)), None)
        if device is None and text == "0" and all(each.number.upper().startswith("MIG-") for each in devices):
            device = next(iter(devices), None)  # with MIG, CUDA has only device 0: the first MIG device
        if device is None:
            break
        if device not in selected:
            selected.append(device)
    return tuple(selected)


def _matches(device: Device, text: str) -> bool:
    """Return True if a name in a visible-devices variable means this device. A UUID can be abbreviated."""
    is_uuid = text.upper().startswith(("GPU-", "MIG-"))
    return device.key.lower().startswith(text.lower()) if is_uuid else device.number == text


def _split(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    return [] if text.strip().lower() in NO_DEVICES else [name for name in names if name]


def _nvml_devices() -> tuple[Device, ...]:
    """Return the devices that NVIDIA's management library lists; none without the package or the driver."""
    try:
        nvml: Any = import_module("pynvml")  # optional, and slow to import
        nvml.nvmlInit()
    except Exception:  # noqa: BLE001 - the package raises its own errors, OSError or ImportError
        return ()
    try:
        return tuple(
            device
            for index in range(nvml.nvmlDeviceGetCount())
            for device in _with_mig(nvml, nvml.nvmlDeviceGetHandleByIndex(index), index)
        )
    except nvml.NVMLError:
        return ()
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _with_mig(nvml: Any, handle: Any, index: int) -> Iterator[Device]:
    """Yield a device, or its MIG devices if MIG is enabled: then CUDA cannot use the device itself."""
    name = _text(nvml.nvmlDeviceGetName(handle))
    try:
        is_split = nvml.nvmlDeviceGetMigMode(handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE
    except nvml.NVMLError:  # the device has no MIG
        is_split = False
    if not is_split:
        yield Device(key=_text(nvml.nvmlDeviceGetUUID(handle)), number=str(index), name=name)
        return
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except nvml.NVMLError:  # no MIG device has this number
            continue
        uuid = _text(nvml.nvmlDeviceGetUUID(part))
        yield Device(key=uuid, number=uuid, name=_text(nvml.nvmlDeviceGetName(part)) or name)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _nvidia_files(root: Path) -> Iterator[Device]:
    """Yield NVIDIA's devices by their files. The driver's /proc folder has their UUIDs and PCI buses."""
    uuids, buses = {}, {}
    for file in (root / "proc/driver/nvidia/gpus").glob("*/information"):
        text = _read(file)
        if (found := _MINOR.search(text)) and (uuid := _UUID.search(text)):
            uuids[found[1]], buses[found[1]] = uuid[1], file.parent.name
    minors: list[str] = []
    with contextlib.suppress(OSError):
        files = ((path, _FILE.fullmatch(path.name)) for path in (root / "dev").iterdir())
        minors = [match[1] for path, match in files if match and _can_open(path)]
    are_known = buses.keys() >= set(minors)
    in_order = sorted(minors, key=lambda minor: (buses[minor] if are_known else "", int(minor)))
    for number, minor in enumerate(in_order):
        yield Device(key=uuids.get(minor, minor), number=str(number))


def _can_open(file: Path) -> bool:
    """Return True if this process may use a device. A control group can hide a device that has a file."""
    try:
        os.close(os.open(file, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _amd_files(root: Path) -> Iterator[Device]:
    """Yield AMD's devices: the nodes of the kernel's topology that have compute units and a readable file."""
    if not (root / "dev/kfd").exists():
        return
    number = 0
    nodes = (root / "sys/class/kfd/kfd/topology/nodes").glob("*/properties")
    for file in sorted(nodes, key=lambda path: int(path.parent.name)):
        fields = dict(line.split(None, 1) for line in _read(file).splitlines() if " " in line)
        if _whole(fields.get("simd_count"), 0) == 0:
            continue  # a CPU
        render = root / f"dev/dri/renderD{fields.get('drm_render_minor', '')}"
        if render.exists():  # containers can open it, even if this user cannot
            unique = _whole(fields.get("unique_id"), 0)
            key = f"GPU-{unique:016x}" if unique else f"amd-{number}"
            yield Device(key=key, number=str(number), vendor=AMD, files=("/dev/kfd", str(render)))
            number += 1


def _cgroup_limits(own: Path, mount: Path) -> Iterator[tuple[str, int, int]]:
    """Yield the name, the CPU quota and the memory limit of this process's control group and of those above it.

    Args:
        own: The kernel's list of the process's groups, in version 2 or version 1 of its format.
        mount: The root of the groups' files.
    """
    for line in _read(own).splitlines():
        _, controllers, path = line.split(":", 2)
        for base in [mount] if not controllers else [mount / name for name in controllers.split(",")]:
            folder = base / path.lstrip("/")
            folder = folder if folder.exists() else base  # a container sees its own group as the root
            for group in (folder, *folder.parents):
                yield str(group), _cpu_quota(group), _memory_limit(group)
                if group == base:
                    break


def _cpu_quota(group: Path) -> int:
    """Return how many cores a control group may use at the same time, rounded up."""
    quota, _, period = _read(group / "cpu.max").strip().partition(" ")
    if not quota:  # version 1
        quota, period = _read(group / "cpu.cfs_quota_us").strip(), _read(group / "cpu.cfs_period_us").strip()
    limit_us = _whole(quota, -1)  # `max` and -1 for no limit
    return NO_LIMIT if limit_us < 0 else max(1, math.ceil(limit_us / _whole(period, 100_000)))


def _memory_limit(group: Path) -> int:
    text = _read(group / "memory.max") or _read(group / "memory.limit_in_bytes")
    return _whole(text.strip(), NO_LIMIT)  # `max` for no limit


def _machine_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _whole(text: str | None, default: int) -> int:
    """Return a number of a file or a variable; `default` if it is missing, 0, or not a number."""
    try:
        return int(text or "") or default
    except ValueError:
        return default


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
