"""How jobs reach the endpoint, which listens on loopback."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from smsweep.backends.docker.engine import Engine

LOOPBACK = "127.0.0.1"
DESKTOP = "Docker Desktop"  # runs its engine in a machine of its own and forwards this name to our loopback
DESKTOP_HOST = "host.docker.internal"
HOST_NAMES = ("localhost", DESKTOP_HOST)  # names of this machine; S3 clients put a bucket before them


def container_host(environ: Mapping[str, str]) -> str:
    """Return the name or address by which containers know this machine. Raises BackendUnavailable."""
    with Engine(environ).client() as client:
        if client.info().get("OperatingSystem") == DESKTOP:
            return DESKTOP_HOST
        (config, *_) = client.inspect_network("bridge")["IPAM"]["Config"]
    # Older engines leave the gateway out: it is the network's first address.
    return str(config.get("Gateway") or next(ipaddress.ip_network(config["Subnet"]).hosts()))
