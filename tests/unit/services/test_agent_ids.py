"""Agent ids: which agents of this machine no longer run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from smsweep.services.agent_ids import is_gone, new_agent_id

PRINT_ID = [sys.executable, "-c", "from smsweep.services.agent_ids import new_agent_id; print(new_agent_id())"]
CONTAINED = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]


def test_agent_is_gone_when_its_process_has_exited() -> None:
    agent_id = subprocess.run(PRINT_ID, capture_output=True, text=True, check=True).stdout.strip()
    assert is_gone(agent_id)
    assert not is_gone(new_agent_id())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_killed_agent_is_gone_while_its_process_is_a_zombie() -> None:
    code = f"{PRINT_ID[-1].removesuffix(')')}, flush=True); input()"
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        agent_id = agent.stdout.readline().strip()
        assert not is_gone(agent_id)
        agent.kill()
        assert agent.stdout.read() == ""  # the process has exited, and is a zombie until it is reaped
        os.waitid(os.P_PID, agent.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(agent_id)


def test_agent_of_another_machine_with_the_same_host_name_is_not_gone() -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    assert not is_gone(f"{socket.gethostname()}:{dead.pid}:0123456789abcdef")


def test_container_with_the_host_name_does_not_report_agents_of_the_host_as_gone() -> None:
    if subprocess.run([*CONTAINED, "true"], capture_output=True, check=False).returncode:
        pytest.skip("PID namespaces are not available")
    code = f"from smsweep.services.agent_ids import is_gone; print(is_gone({new_agent_id()!r}))"
    ended = subprocess.run(
        [*CONTAINED, sys.executable, "-c", f"import os; {code}; assert os.getpid() != {os.getpid()}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.strip() == "False"
