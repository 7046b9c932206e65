"""Addresses by which jobs reach the emulator, which listens on loopback."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from smsweep.backends.docker.engine import Engine

LOOPBACK = "127.0.0.1"
DESKTOP = "Docker Desktop"  # its engine is in a virtual machine, which forwards DESKTOP_HOST to our loopback
DESKTOP_HOST = "host.docker.internal"
HOST_NAMES = ("localhost", DESKTOP_HOST)  # S3 clients put the bucket in front of these names


def container_host(environ: Mapping[str, str]) -> str:
    """Return the name or address of this machine from inside a container. Raises BackendUnavailable."""
    with Engine(environ).client() as client:
        if client.info().get("OperatingSystem") == DESKTOP:
            return DESKTOP_HOST
        (config, *_) = client.inspect_network("bridge")["IPAM"]["Config"]
    # Older engines omit the gateway, which is the first address of the network.
    return str(config.get("Gateway") or next(ipaddress.ip_network(config["Subnet"]).hosts()))
