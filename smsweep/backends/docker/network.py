"""What network a job's containers are on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from docker import APIClient
from docker.errors import APIError

from smsweep.backends.docker.engine import is_missing
from smsweep.jobs import TrainingJobRequest

LABEL = "smsweep.network"  # the name of the job it is for


def network_of(client: APIClient, request: TrainingJobRequest, host: str, hosts: Sequence[str]) -> tuple[str, Any]:
    """Return a host's network mode and networking config, creating the job's own network where it has one.

    Several hosts share a network of their own and find each other by name; isolated ones see nothing else, as on
    SageMaker. A single host is on the engine's common bridge, or isolated: on none.
    """
    is_isolated = request.get("EnableNetworkIsolation", False)
    if len(hosts) == 1:
        return ("none" if is_isolated else "bridge"), None
    job = request["TrainingJobName"]
    _ensure_network(client, job, is_internal=is_isolated)
    endpoint = client.create_endpoint_config(aliases=[host])
    return job, client.create_networking_config({job: endpoint})  # type: ignore[arg-type]  # the stub names one network's part


def remove_network(client: APIClient, job: str) -> None:
    try:
        client.remove_network(job)
    except APIError as err:
        if not is_missing(err):
            raise


def _ensure_network(client: APIClient, job: str, *, is_internal: bool) -> None:
    if any(network["Name"] == job for network in client.networks(names=[job])):
        return
    client.create_network(job, driver="bridge", internal=is_internal, labels={LABEL: job})
