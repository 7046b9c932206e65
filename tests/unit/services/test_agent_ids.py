from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from smsweep.services.agent_ids import is_gone, new_agent_id

SAY = [sys.executable, "-c", "from smsweep.services.agent_ids import new_agent_id; print(new_agent_id())"]
CONTAINED = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]


def test_an_agent_that_died_on_this_machine_is_gone_and_one_that_lives_is_not() -> None:
    said = subprocess.run(SAY, capture_output=True, text=True, check=True).stdout.strip()
    assert is_gone(said)
    assert not is_gone(new_agent_id())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere its lease tells")
def test_an_agent_that_was_killed_is_gone_though_nobody_has_reaped_it() -> None:
    stay = f"{SAY[-1].removesuffix(')')}, flush=True); input()"
    argv = [sys.executable, "-c", stay]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        said = agent.stdout.readline().strip()
        assert not is_gone(said)
        agent.kill()
        assert agent.stdout.read() == ""  # it has ended, and is a zombie until it is waited for
        os.waitid(os.P_PID, agent.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(said)


def test_an_agent_of_another_machine_with_the_same_host_name_is_left_to_its_lease() -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    assert not is_gone(f"{socket.gethostname()}:{dead.pid}:0123456789abcdef")


def test_a_container_with_the_hosts_name_does_not_take_the_hosts_agents_for_dead() -> None:
    if subprocess.run([*CONTAINED, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces of processes to be had here")
    ask = f"from smsweep.services.agent_ids import is_gone; print(is_gone({new_agent_id()!r}))"
    said = subprocess.run(
        [*CONTAINED, sys.executable, "-c", f"import os; {ask}; assert os.getpid() != {os.getpid()}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "False"
