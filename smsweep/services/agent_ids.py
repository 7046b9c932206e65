"""Names of agents, which tell the next agent on the same machine whether this one still lives."""

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
    """Return HOST:PID:TOKEN; a token begins with where such a process id means something."""
    return f"{socket.gethostname()}:{os.getpid()}:{_realm()}{secrets.token_hex(4)}"


def is_gone(agent_id: str) -> bool:
    """Tell whether an agent surely lives no more. Of one elsewhere only its lease tells.

    A host name alone is no proof: machines of one image may share it, and containers that share it with their host
    count processes of their own.
    """
    host, _, rest = agent_id.partition(":")
    pid, _, token = rest.partition(":")
    is_ours = host == socket.gethostname() and token.startswith(_realm())
    return is_ours and pid.isdecimal() and not _is_alive(int(pid))


def release_dead_agents(store: Store, sweep_id: str) -> None:
    """Let go of trials held by agents of this machine that no longer live, without waiting for their leases."""
    for holder in store.holders(sweep_id):
        if is_gone(holder):
            log.info("agent %s is gone; its trials are taken over", holder)
            store.release(holder)


def _realm() -> str:
    """Return what names this boot of this machine and this namespace of processes; "" without Linux."""
    try:
        known = f"{BOOT_ID.read_text()}{PID_NAMESPACE.readlink()}"
    except OSError:
        return ""
    return hashlib.sha256(known.encode()).hexdigest()[:8]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return True  # no /proc (macOS): believe kill
    return state not in (b"Z", b"X")  # in some containers nobody ever reaps the dead
