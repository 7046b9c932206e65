"""From a training job's request to the containers that run it, and the calls that create and remove them."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker import APIClient
from docker.errors import APIError
from docker.types import DeviceRequest, IPAMConfig, IPAMPool, Mount

from smsweep.backends.docker.engine import DockerOptions, EngineFacts, is_missing, said
from smsweep.backends.docker.logs import LOG_CONFIG
from smsweep.backends.local.job_folder import FIRST_HOST
from smsweep.core.job import TrainingJobRequest
from smsweep.errors import NameTaken
from smsweep.runtime.system import VARIABLE as OWNER
from smsweep.secrets.references import secret_values

INSTALL_FLAG = "--install-requirements"  # of the runtime: here the image already has them
# What a job on SageMaker has through its role; profiles and files of the caller stay outside.
CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)

LABEL_JOB = "smsweep.job"  # the job's name
LABEL_FOLDER = "smsweep.folder"  # the job's folder, by which we know our own
LABEL_HOST = "smsweep.host"
LABEL_GPU = "smsweep.gpu"  # the device it was given
DEVICE = re.compile(r"nvidia(\d+)")
LABEL = "smsweep.network"  # the name of the job it is for
LABEL_ASKING = "smsweep.asking"  # on one that is made only to see which subnet is free
FIRST_ADDRESS = 2  # in a subnet; 1 is the engine's own


@dataclass(frozen=True, kw_only=True, slots=True)
class Bind:
    """A file or folder of this machine, shown to a container."""

    source: Path
    target: str
    is_read_only: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerPlan:
    """All that distinguishes one container of a job."""

    folder: Path  # of the job
    request: TrainingJobRequest
    host: str  # algo-1, ...
    network: HostNetwork
    image: str
    binds: Sequence[Bind]
    options: DockerOptions
    facts: EngineFacts
    environ: Mapping[str, str]  # the caller's
    owner: tuple[int, int]  # the caller's user and group
    gpu: str = ""  # device to give it; "" for none


def container_name(job: str, host: str) -> str:
    """Return a host's container name: the job's own for the first, so that a job cannot be started twice."""
    return job if host == FIRST_HOST else f"{job}-{host}"


def create(client: APIClient, plan: ContainerPlan) -> None:
    """Create the container; no-op when it is there. Raises NameTaken when the name is somebody else's."""
    name = container_name(plan.folder.name, plan.host)
    algorithm = plan.request.get("AlgorithmSpecification", {})
    try:
        client.create_container(
            plan.image,
            name=name,
            entrypoint=algorithm.get("ContainerEntrypoint"),
            command=_command(algorithm),
            hostname=plan.host,
            environment=_environment(plan),
            labels=_labels(plan),
            networking_config=_networking(client, plan.network),
            host_config=client.create_host_config(
                network_mode=plan.network.mode,
                extra_hosts=dict(plan.network.names),
                mounts=[mount(bind) for bind in plan.binds],
                log_config=LOG_CONFIG,
                shm_size=_shm_bytes(plan.options, plan.facts),
                nano_cpus=round(plan.options.cpus * 1e9) or None,
                mem_limit=plan.options.memory_bytes or None,
                memswap_limit=plan.options.memory_bytes or None,  # of memory and swap together: no swap
                device_requests=_devices(plan.gpu),
                userns_mode="host" if plan.facts.remaps_users else None,
            ),
        )
    except APIError as err:
        if err.status_code != 409:
            raise
        if not is_ours(client, name, plan.folder):
            raise NameTaken(
                f"container {name} is there already, and is not this job's; it is left as it is"
            ) from err


def _networking(client: APIClient, network: HostNetwork) -> Any:
    if not network.address:
        return None
    endpoint = client.create_endpoint_config(ipv4_address=network.address)
    return client.create_networking_config({network.mode: endpoint})  # type: ignore[arg-type]  # the stub is too narrow


def is_ours(client: APIClient, container: str, folder: Path) -> bool:
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
    """Remove a container with its anonymous volumes, running or not; no-op when there is none."""
    try:
        client.remove_container(container, v=True, force=True)
    except APIError as err:
        # 409: its removal is under way, by another agent
        if not is_missing(err) and err.status_code != 409:
            raise


def send(client: APIClient, container: str, signal: str) -> None:
    """Send a signal to a container's PID 1; no-op when it does not run."""
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
    given = {} if is_isolated else {key: plan.environ[key] for key in CREDENTIALS if plan.environ.get(key)}
    region = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or "local"
    uid, gid = plan.owner
    owner = {} if uid == 0 or plan.facts.maps_root_to_caller else {OWNER: f"{uid}:{gid}"}
    return {
        **given,
        **owner,
        "TRAINING_JOB_NAME": name,
        "TRAINING_JOB_ARN": f"arn:aws:sagemaker:{region}:000000000000:training-job/{name}",
        **plan.request.get("Environment", {}),  # may name the job that this one runs for
        **secret_values(plan.request, plan.environ),
    }


def _labels(plan: ContainerPlan) -> dict[str, str]:
    tags = {f"smsweep.tag.{tag['Key']}": str(tag["Value"]) for tag in plan.request.get("Tags", ())}
    own = {LABEL_JOB: plan.folder.name, LABEL_FOLDER: str(plan.folder), LABEL_HOST: plan.host}
    return {**tags, **own, **({LABEL_GPU: plan.gpu} if plan.gpu else {})}


def mount(bind: Bind) -> Mount:
    return Mount(target=bind.target, source=str(bind.source), type="bind", read_only=bind.is_read_only)


def _shm_bytes(options: DockerOptions, facts: EngineFacts) -> int:
    # Docker's own 64 MiB breaks data loaders with workers; half the memory is what Linux gives a tmpfs.
    return options.shm_bytes or (options.memory_bytes or facts.memory_bytes) // 2


def _devices(gpu: str) -> list[DeviceRequest] | None:
    return [DeviceRequest(device_ids=[gpu], capabilities=[["gpu"]])] if gpu else None


def host_gpus(dev: Path = Path("/dev")) -> list[str]:
    """Return the numbers of this machine's NVIDIA devices, ascending."""
    found = (DEVICE.fullmatch(path.name) for path in dev.iterdir())
    return sorted((match[1] for match in found if match), key=int)


def choose_gpu(gpus: Iterable[str], labels: Iterable[Mapping[str, str]], label: str) -> str:
    """Return the device that fewest of the running containers have; "" when there is none at all.

    labels: those of each running container.
    """
    used = Counter(of_one[label] for of_one in labels if label in of_one)
    return min(gpus, key=lambda gpu: (used[gpu], int(gpu)), default="")


@dataclass(frozen=True, kw_only=True, slots=True)
class HostNetwork:
    """One host's place on it."""

    mode: str  # as the engine names it: bridge, none, or the name of a network
    address: str  # "" where the engine gives one
    names: Mapping[str, str]  # host -> address, for its /etc/hosts


def ensure_network(client: APIClient, request: TrainingJobRequest, hosts: Sequence[str]) -> dict[str, HostNetwork]:
    """Return each host's place, creating the job's own network where it has one.

    Several hosts share a network of their own and find each other by name from the first moment on, although
    one starts before the other; isolated ones see nothing else, as on SageMaker. A single host is on the
    engine's common bridge, or isolated: on none, where nobody else would tell it its own name.
    Raises NameTaken when a network has the job's name and is somebody else's.
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
    for network in client.networks(filters={"label": [f"{LABEL}={job}"]}):
        try:
            client.remove_network(network["Id"])
        except APIError as err:
            if not is_missing(err):
                raise


def _subnet(client: APIClient, job: str, *, is_internal: bool) -> str:
    """Return the subnet of the job's network, made unless it is there. Raises NameTaken."""
    found = next((one for one in client.networks(names=[job]) if one["Name"] == job), None)
    if found is not None:
        labels = found["Labels"] or {}
        if labels.get(LABEL) != job:
            raise NameTaken(f"network {job} is there already, and is not this job's; it is left as it is")
        if LABEL_ASKING in labels:  # an agent was killed between question and use
            client.remove_network(found["Id"])
            found = None
    return str((found or _with_free_subnet(client, job, is_internal=is_internal))["IPAM"]["Config"][0]["Subnet"])


def _with_free_subnet(client: APIClient, job: str, *, is_internal: bool) -> Mapping[str, Any]:
    """Create the job's network.

    The engine gives out fixed addresses only in a subnet that somebody named, but knows best which is free: it
    is asked for a network, and then for the same one by its name.
    """
    while True:
        chosen = _create(client, job, None, {LABEL_ASKING: ""}, is_internal=is_internal)
        client.remove_network(job)
        try:
            return _create(client, job, _pool_of(chosen), {}, is_internal=is_internal)
        except APIError as err:
            if "overlap" not in said(err):  # else somebody was given the same one in between: ask again
                raise


def _create(
    client: APIClient, job: str, pool: IPAMConfig | None, labels: Mapping[str, str], *, is_internal: bool
) -> Mapping[str, Any]:
    client.create_network(job, driver="bridge", internal=is_internal, labels={LABEL: job, **labels}, ipam=pool)
    return dict(client.inspect_network(job))


def _pool_of(network: Mapping[str, Any]) -> IPAMConfig:
    return IPAMConfig(pool_configs=[IPAMPool(subnet=network["IPAM"]["Config"][0]["Subnet"])])
