"""What network a job's containers are on."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from docker import APIClient
from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool

from smsweep.backends.docker.engine import is_missing, said
from smsweep.core.job import TrainingJobRequest
from smsweep.errors import NameTaken

LABEL = "smsweep.network"  # the name of the job it is for
LABEL_ASKING = "smsweep.asking"  # on one that is made only to see which subnet is free
FIRST_ADDRESS = 2  # in a subnet; 1 is the engine's own


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
