"""Agent ids. From an id, another agent on the same machine can determine if the agent is still alive."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import socket
from pathlib import Path

from smsweep.store.base import Store

log = logging.getLogger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PID_NAMESPACE = Path("/proc/self/ns/pid")


def new_agent_id() -> str:
    """Return HOST:PID:TOKEN. The token starts with a hash of the boot and the PID namespace (see `_realm`)."""
    return f"{socket.gethostname()}:{os.getpid()}:{_realm()}{secrets.token_hex(4)}"


def is_gone(agent_id: str) -> bool:
    """Return True if an agent of this machine no longer runs; False for agents of other machines.

    The leases of other machines' agents expire. The host name alone is not enough: several machines can have the
    same name, and a container can have its host's name with a PID namespace of its own.
    """
    pid = _local_pid(agent_id)
    return pid is not None and not _is_running(pid)


def is_alive(agent_id: str) -> bool:
    """Return True if an agent of this machine runs; False for agents of other machines."""
    pid = _local_pid(agent_id)
    return pid is not None and _is_running(pid)


def release_dead_agents(store: Store, sweep_id: str) -> None:
    """Release the trials of agents of this machine that no longer run, before their leases expire."""
    for holder in store.holders(sweep_id):
        if is_gone(holder):
            log.info("agent %s no longer runs; this agent can continue its trials", holder)
            store.release(holder)


def _local_pid(agent_id: str) -> int | None:
    """Return the process id of an agent of this machine; None for agents of other machines."""
    host, _, rest = agent_id.partition(":")
    pid, _, token = rest.partition(":")
    is_ours = host == socket.gethostname() and token.startswith(_realm())
    return int(pid) if is_ours and pid.isdecimal() else None


def _realm() -> str:
    """Return a hash of the machine's boot id and the PID namespace; "" on systems other than Linux."""
    try:
        known = f"{BOOT_ID.read_text()}{PID_NAMESPACE.readlink()}"
    except OSError:
        return ""
    return hashlib.sha256(known.encode()).hexdigest()[:8]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    import psutil  # slow to import, and needed only if another agent holds trials

    try:
        state = psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return False
    return state not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)  # some containers never reap zombies
