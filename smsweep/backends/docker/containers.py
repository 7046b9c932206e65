"""The containers and the network of a job: create, find, signal and remove them; choose a GPU."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker import APIClient
from docker.errors import APIError
from docker.types import DeviceRequest, IPAMConfig, IPAMPool, Mount

from smsweep.backends.docker.engine import DockerOptions, EngineFacts, engine_message, is_missing
from smsweep.backends.docker.logs import LOG_CONFIG
from smsweep.backends.local.devices import NVIDIA, Device
from smsweep.backends.local.job_folder import FIRST_HOST
from smsweep.core.job import TrainingJobRequest
from smsweep.core.resources import resources_of
from smsweep.errors import NameTaken
from smsweep.runtime.system import VARIABLE as OWNER
from smsweep.secrets.redact import secret_values

INSTALL_FLAG = (
    "--install-requirements"  # option of the runtime; not needed, because the image already has the requirements
)
# A job on SageMaker gets these from its role. The user's AWS profiles and files are not passed.
CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)

LABEL_JOB = "smsweep.job"  # the job's name
LABEL_FOLDER = "smsweep.folder"  # the job's folder, which identifies the containers of this job
LABEL_HOST = "smsweep.host"
DEVICE = re.compile(r"nvidia(\d+)")
LABEL = "smsweep.network"  # of a network: the job's name
LABEL_TEMPORARY = "smsweep.asking"  # of a temporary network, which only finds a free subnet
FIRST_ADDRESS = 2  # in a subnet; the engine has address 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Bind:
    """A file or folder of this machine that is mounted into a container."""

    source: Path
    target: str
    is_read_only: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class HostNetwork:
    """The network settings of one host."""

    mode: str  # the engine's name for it: bridge, none, or the name of a network
    address: str  # "" if the engine assigns it
    names: Mapping[str, str]  # host -> address, for its /etc/hosts


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerPlan:
    """The arguments of `create` for one container of a job."""

    folder: Path  # of the job
    request: TrainingJobRequest
    host: str  # algo-1, ...
    network: HostNetwork
    image: str
    binds: Sequence[Bind]
    options: DockerOptions
    facts: EngineFacts
    environ: Mapping[str, str]  # the user's environment variables
    owner: tuple[int, int]  # user id and group id of the caller
    gpus: Sequence[Device] | None = None  # None on a machine without GPUs
    cpus: Sequence[int] = ()  # numbers of the cores of a job that asks for cores


def container_name(job: str, host: str) -> str:
    """Return a host's container name. The first host has the job's name, so that a job cannot be started twice."""
    return job if host == FIRST_HOST else f"{job}-{host}"


def create(client: APIClient, plan: ContainerPlan) -> None:
    """Create the container. If it exists, do nothing.

    Raises:
        NameTaken: If a container that does not belong to this job has the name.
    """
    name = container_name(plan.folder.name, plan.host)
    algorithm = plan.request.get("AlgorithmSpecification", {})
    limit = memory_bytes(plan.request, plan.options)
    try:
        client.create_container(
            plan.image,
            name=name,
            entrypoint=algorithm.get("ContainerEntrypoint"),
            command=_command(algorithm),
            hostname=plan.options.hostname or plan.host,
            environment=_environment(plan),
            labels=_labels(plan),
            networking_config=_networking(client, plan.network),
            host_config=client.create_host_config(
                network_mode=plan.network.mode,
                extra_hosts=dict(plan.network.names),
                mounts=[mount(bind) for bind in plan.binds],
                log_config=LOG_CONFIG,
                # Docker's default of 64 MiB breaks data loaders. Half of the memory is the default of a tmpfs.
                shm_size=plan.options.shm_bytes or (limit or plan.facts.memory_bytes) // 2,
                mem_limit=limit or None,
                memswap_limit=limit or None,  # the sum of memory and swap, so there is no swap
                **_devices(plan),
                userns_mode="host" if plan.facts.remaps_users else None,
            ),
        )
    except APIError as err:
        if err.status_code != 409:
            raise
        if not is_ours(client, name, plan.folder):
            raise NameTaken(
                f"container {name} already exists and does not belong to this job; it is not changed"
            ) from err


def _networking(client: APIClient, network: HostNetwork) -> Any:
    if not network.address:
        return None
    endpoint = client.create_endpoint_config(ipv4_address=network.address)
    return client.create_networking_config({network.mode: endpoint})  # type: ignore[arg-type]  # the stub is too narrow


def is_ours(client: APIClient, container: str, folder: Path) -> bool:
    """Return True if the container exists and belongs to the job with this folder."""
    try:
        labels = client.inspect_container(container)["Config"]["Labels"] or {}
    except APIError as err:
        if is_missing(err):
            return False
        raise
    return bool(labels.get(LABEL_FOLDER) == str(folder))


def find(client: APIClient, folder: Path) -> list[dict[str, Any]]:
    """Return the engine's short description of each container of a job, running or not."""
    return list(client.containers(all=True, filters={"label": [f"{LABEL_FOLDER}={folder}"]}))


def remove(client: APIClient, container: str) -> None:
    """Remove a container, running or not, with its anonymous volumes. If it does not exist, do nothing."""
    try:
        client.remove_container(container, v=True, force=True)
    except APIError as err:
        # 409: another agent is removing it
        if not is_missing(err) and err.status_code != 409:
            raise


def send(client: APIClient, container: str, signal: str) -> None:
    """Send a signal to a container's PID 1. If the container is not running, do nothing."""
    try:
        client.kill(container, signal)
    except APIError as err:
        # 409: not running
        if not is_missing(err) and err.status_code != 409:
            raise


def _command(algorithm: Mapping[str, Any]) -> list[str]:
    if "ContainerEntrypoint" not in algorithm:
        return ["train"]  # SageMaker's `docker run IMAGE train`
    return [item for item in algorithm.get("ContainerArguments", []) if item != INSTALL_FLAG]


def _environment(plan: ContainerPlan) -> dict[str, str]:
    name = plan.folder.name
    is_isolated = plan.request.get("EnableNetworkIsolation", False)
    credentials = {} if is_isolated else {key: plan.environ[key] for key in CREDENTIALS if plan.environ.get(key)}
    region = credentials.get("AWS_REGION") or credentials.get("AWS_DEFAULT_REGION") or "local"
    uid, gid = plan.owner
    owner = {} if uid == 0 or plan.facts.maps_root_to_caller else {OWNER: f"{uid}:{gid}"}
    return {
        **credentials,
        **owner,
        "TRAINING_JOB_NAME": name,
        "TRAINING_JOB_ARN": f"arn:aws:sagemaker:{region}:000000000000:training-job/{name}",
        **plan.request.get("Environment", {}),  # may override the name and ARN, for example in the emulator
        **secret_values(plan.request, plan.environ),
    }


def _labels(plan: ContainerPlan) -> dict[str, str]:
    tags = {f"smsweep.tag.{tag['Key']}": str(tag["Value"]) for tag in plan.request.get("Tags", ())}
    own = {LABEL_JOB: plan.folder.name, LABEL_FOLDER: str(plan.folder), LABEL_HOST: plan.host}
    return {**tags, **own}


def mount(bind: Bind) -> Mount:
    return Mount(target=bind.target, source=str(bind.source), type="bind", read_only=bind.is_read_only)


def memory_bytes(request: TrainingJobRequest, options: DockerOptions) -> int:
    """Return the memory limit of a container; 0 for no limit."""
    return resources_of(request).memory_bytes or options.memory_bytes


def _devices(plan: ContainerPlan) -> dict[str, Any]:
    """Return the arguments of `create_host_config` for GPUs and cores."""
    arguments: dict[str, Any] = {"nano_cpus": round((len(plan.cpus) or plan.options.cpus) * 1e9) or None}
    if plan.cpus and sys.platform == "linux":  # elsewhere, the engine's virtual machine has other cores
        arguments["cpuset_cpus"] = ",".join(map(str, plan.cpus))
    gpus = plan.gpus or ()
    numbers = [gpu.number for gpu in gpus if gpu.vendor == NVIDIA]
    if numbers:
        arguments["device_requests"] = [DeviceRequest(device_ids=numbers, capabilities=[["gpu"]])]
    if files := dict.fromkeys(file for gpu in gpus for file in gpu.files):
        arguments |= {"devices": [f"{file}:{file}" for file in files], "group_add": _groups(files)}
    return arguments


def _groups(files: Iterable[str]) -> list[str]:
    """Return the groups that may open the device files."""
    return sorted({str(Path(file).stat().st_gid) for file in files})


def host_gpus(dev: Path = Path("/dev")) -> list[str]:
    """Return the numbers of this machine's NVIDIA devices, ascending."""
    matches = (DEVICE.fullmatch(path.name) for path in dev.iterdir())
    return sorted((match[1] for match in matches if match), key=int)


def ensure_network(client: APIClient, request: TrainingJobRequest, hosts: Sequence[str]) -> dict[str, HostNetwork]:
    """Return the network settings of each host. Create the job's network if the job has several hosts.

    Several hosts share one network. Fixed addresses in /etc/hosts let them resolve each other's names before all
    have started. With network isolation they reach only each other, as on SageMaker. A single host uses the
    engine's default bridge, or no network if it is isolated.

    Raises:
        NameTaken: If a network that does not belong to this job has its name.
    """
    is_isolated = bool(request.get("EnableNetworkIsolation", False))
    if len(hosts) == 1:
        mode, names = ("none", {hosts[0]: "127.0.0.1"}) if is_isolated else ("bridge", {})
        return {hosts[0]: HostNetwork(mode=mode, address="", names=names)}
    job = request["TrainingJobName"]
    subnet = ipaddress.ip_network(_subnet(client, job, is_internal=is_isolated))
    addresses = {host: str(subnet[FIRST_ADDRESS + number]) for number, host in enumerate(hosts)}
    return {host: HostNetwork(mode=job, address=addresses[host], names=addresses) for host in hosts}


def remove_network(client: APIClient, job: str) -> None:
    """Remove the job's network, if it exists."""
    for network in client.networks(filters={"label": [f"{LABEL}={job}"]}):
        try:
            client.remove_network(network["Id"])
        except APIError as err:
            if not is_missing(err):
                raise


def _subnet(client: APIClient, job: str, *, is_internal: bool) -> str:
    """Return the subnet of the job's network. Create the network if necessary. Raises NameTaken."""
    existing = next((each for each in client.networks(names=[job]) if each["Name"] == job), None)
    if existing is not None:
        labels = existing["Labels"] or {}
        if labels.get(LABEL) != job:
            raise NameTaken(f"network {job} already exists and does not belong to this job; it is not changed")
        if LABEL_TEMPORARY in labels:  # an agent was killed in `_with_free_subnet`
            client.remove_network(existing["Id"])
            existing = None
    return str(
        (existing or _with_free_subnet(client, job, is_internal=is_internal))["IPAM"]["Config"][0]["Subnet"]
    )


def _with_free_subnet(client: APIClient, job: str, *, is_internal: bool) -> Mapping[str, Any]:
    """Create the job's network.

    The engine accepts fixed addresses only in a subnet that was specified. So a temporary network finds a free
    subnet, and a second network specifies it.
    """
    while True:
        temporary = _create(client, job, None, {LABEL_TEMPORARY: ""}, is_internal=is_internal)
        client.remove_network(job)
        try:
            return _create(client, job, _pool_of(temporary), {}, is_internal=is_internal)
        except APIError as err:
            if "overlap" not in engine_message(err):  # otherwise another network got the subnet in between: retry
                raise


def _create(
    client: APIClient, job: str, pool: IPAMConfig | None, labels: Mapping[str, str], *, is_internal: bool
) -> Mapping[str, Any]:
    client.create_network(job, driver="bridge", internal=is_internal, labels={LABEL: job, **labels}, ipam=pool)
    return dict(client.inspect_network(job))


def _pool_of(network: Mapping[str, Any]) -> IPAMConfig:
    return IPAMConfig(pool_configs=[IPAMPool(subnet=network["IPAM"]["Config"][0]["Subnet"])])
