"""The script of the jobs that `smsweep verify` starts. It runs inside a job: standard library only, Python 3.8."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Callable

MARK = "VERIFY "  # starts a line with one JSON document
ML = Path(os.environ.get("SMSWEEP_ML_ROOT", "/opt/ml"))
SECRET = "-".join(("smsweep", "verify"))  # a value of no use, for a job that reads a secret
LONG = "smsweep-verify " * 200  # 3,000 characters: more than SageMaker keeps


def report(document: dict[str, Any]) -> None:
    """Print a document that the check reads from the log."""
    print(MARK + json.dumps(document, sort_keys=True), flush=True)


def probe() -> None:
    """Report the environment of the job. Values of environment variables are not reported, only names."""
    channels = ML / "input" / "data"
    report(
        {
            "hostname": socket.gethostname(),
            "uid": os.getuid(),
            "first_process": _first_process(),
            "folder": str(Path.cwd()),
            "python": "%d.%d" % sys.version_info[:2],
            "n_cpus": os.cpu_count(),
            "variables": sorted(
                name for name in os.environ if name.startswith(("SM_", "SAGEMAKER_", "TRAINING_"))
            ),
            "mounts": _mounts(),
            "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "shared_memory_bytes": _size("/dev/shm"),  # nosec B108 - only its size is read
            "configs": sorted(path.name for path in (ML / "input" / "config").glob("*.json")),
            "channel": sorted(
                path.relative_to(channels / "train").as_posix()
                for path in (channels / "train").rglob("*")
                if path.is_file()
            ),
            "can_write_channel": _can_write(channels / "train"),
            "hosts": _resources().get("hosts", []),
            "current_host": _resources().get("current_host", ""),
        }
    )


def _first_process() -> list[str]:
    try:
        return Path("/proc/1/cmdline").read_bytes().decode(errors="replace").split("\0")[:2]
    except OSError:
        return []


def _mounts() -> list[str]:
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    points = sorted({line.split(" ")[4] for line in lines})
    return [point for point in points if point.startswith(("/opt/ml", "/dev/shm", "/tmp"))]  # nosec B108 - names


def _size(folder: str) -> int:
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_blocks * found.f_frsize


def _can_write(folder: Path) -> bool:
    try:
        (folder / "written").write_text("1", encoding="utf-8")
    except OSError:
        return False
    return True


def _resources() -> dict[str, Any]:
    try:
        found = json.loads((ML / "input" / "config" / "resourceconfig.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def lines() -> None:
    """Print numbered lines with the time of each."""
    for number in range(5):
        report({"number": number, "time": time.time()})
        time.sleep(1)


def error() -> None:
    """Fail with an exception."""
    raise ValueError("smsweep-verify failed")


def code() -> None:
    """Exit with code 3, without a message."""
    sys.exit(3)


def killed() -> None:
    """End as after a lack of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def long_reason() -> None:
    """Fail with a long text in the failure file."""
    (ML / "output").mkdir(parents=True, exist_ok=True)
    (ML / "output" / "failure").write_text(LONG, encoding="utf-8")
    sys.exit(1)


def reason_without_failure() -> None:
    """Exit with code 0 and a failure file."""
    (ML / "output").mkdir(parents=True, exist_ok=True)
    (ML / "output" / "failure").write_text("smsweep-verify ended well", encoding="utf-8")


def patient() -> None:
    """Wait for SIGTERM, save a model, and exit with code 0."""

    def on_terminate(number: int, frame: object) -> None:
        _save("stopped")
        report({"signal": number, "time": time.time()})
        sys.exit(0)

    signal.signal(signal.SIGTERM, on_terminate)
    report({"ready": True})
    _sleep()


def stubborn() -> None:
    """Ignore SIGTERM, and report each second until SIGKILL."""
    signal.signal(signal.SIGTERM, lambda number, frame: report({"signal": number, "time": time.time()}))
    report({"ready": True})
    while True:
        time.sleep(1)
        report({"time": time.time()})


def checkpoint() -> None:
    """Report the checkpoints, remove `old`, and write `old` and `new` in turn."""
    folder = ML / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    found = sorted(path.name for path in folder.iterdir())
    report({"checkpoints": found})
    if "old" in found:
        (folder / "old").unlink()
        (folder / "new").write_text("2", encoding="utf-8")
    else:
        (folder / "old").write_text("1", encoding="utf-8")


def artifacts() -> None:
    """Save a model with a link, an executable file and an empty folder, and no output."""
    model = _save("weights")
    (model.parent / "link").symlink_to("weights")
    (model.parent / "empty").mkdir()
    model.chmod(0o755)


def hosts() -> None:
    """Report the other hosts of the job, and whether their names resolve."""
    known = _resources()
    names = known.get("hosts", [])
    resolved = {}
    for name in names:
        try:
            resolved[name] = bool(socket.gethostbyname(name))
        except OSError:
            resolved[name] = False
    report(
        {
            "hosts": names,
            "current_host": known.get("current_host", ""),
            "hostname": socket.gethostname(),
            "resolved": resolved,
        }
    )


def ranks() -> None:
    """Report the rank of this process, and the sum of ones over all processes of torchrun or MPI."""
    import importlib

    if "TORCHELASTIC_RUN_ID" in os.environ:
        torch = importlib.import_module("torch")
        importlib.import_module("torch.distributed").init_process_group("gloo")
        rank, ones = torch.distributed.get_rank(), torch.ones(1)
        torch.distributed.all_reduce(ones)
        total = int(ones)
    else:
        world = importlib.import_module("mpi4py.MPI").COMM_WORLD
        rank, total = world.Get_rank(), world.allreduce(1)
    report({"rank": rank, "sum": total, "host": _resources().get("current_host", "")})


def isolated() -> None:
    """Report the network of the job. Without SMSWEEP_VERIFY_HOST, no packet is sent."""
    host = os.environ.get("SMSWEEP_VERIFY_HOST", "")
    _save("weights")
    report(
        {
            "has_route": _can_open(socket.SOCK_DGRAM, "192.0.2.1"),  # an address for examples
            "can_connect": bool(host) and _can_open(socket.SOCK_STREAM, host),
            "host": host,
            "interfaces": sorted(name for _, name in socket.if_nameindex()),
        }
    )


def _can_open(kind: int, host: str) -> bool:
    try:
        with socket.socket(socket.AF_INET, kind) as opened:
            opened.settimeout(10)
            opened.connect((host, 443))
    except OSError:
        return False
    return True


def gpus() -> None:
    """Report the GPUs that CUDA's driver finds."""
    import ctypes

    count = ctypes.c_int(0)
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as err:
        report({"cuda": str(err), "n_gpus": 0, "sm_num_gpus": os.environ.get("SM_NUM_GPUS", "")})
        return
    codes = [cuda.cuInit(0), cuda.cuDeviceGetCount(ctypes.byref(count))]
    report({"cuda": str(max(codes)), "n_gpus": count.value, "sm_num_gpus": os.environ.get("SM_NUM_GPUS", "")})


def train() -> None:
    """Log a metric at regular times, as the script of a sweep."""
    import smsweep

    run = smsweep.init()
    steps = int(run.config.get("steps", 1))
    for _ in range(steps):
        time.sleep(float(run.config["seconds"]) / steps)
        secret = (
            {"has_secret": int(os.environ["VERIFY_SECRET"] == SECRET)} if "VERIFY_SECRET" in os.environ else {}
        )
        smsweep.log({"loss": run.config["x"], **secret})


def _save(name: str) -> Path:
    folder = Path(os.environ.get("SM_MODEL_DIR") or str(ML / "model"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(name, encoding="utf-8")
    return folder / name


def _sleep() -> None:
    while True:
        time.sleep(0.2)


ACTIONS: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (
        probe,
        lines,
        error,
        code,
        killed,
        long_reason,
        reason_without_failure,
        patient,
        stubborn,
        checkpoint,
        artifacts,
        hosts,
        ranks,
        isolated,
        gpus,
        train,
    )
}


if __name__ == "__main__":
    chosen = [argument[len("--action=") :] for argument in sys.argv[1:] if argument.startswith("--action=")]
    ACTIONS[chosen[0] if chosen else "train"]()
