"""Jobs with several hosts: one container per host, on a network of the job."""

from __future__ import annotations

import json
import os
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from smsweep.backends.docker.containers import LABEL, LABEL_TEMPORARY
from smsweep.core.distributed_launch import torchrun as torchrun_command
from tests.support.jobs import Jobs, channel, read_all
from tools.docker_engine import IMAGE

TWO = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 10}


@pytest.fixture(autouse=True)
def _leaves_no_network(docker_engine: DockerClient, jobs: Jobs) -> Any:
    yield
    assert docker_engine.networks.list(names=[jobs.prefix]) == []


def test_hosts_resolve_each_others_names(jobs: Jobs) -> None:
    script = """
import json, os, socket
hosts = json.loads(os.environ['SM_HOSTS'])
me = os.environ['SM_CURRENT_HOST']
socket.gethostbyname(*[host for host in hosts if host != me])
print(me, socket.gethostname(), hosts, json.load(open('/opt/ml/input/config/resourceconfig.json'))['current_host'])
"""
    done = jobs.run("pair", script, ResourceConfig=TWO)
    assert sorted(done.lines) == [
        "algo-1 algo-1 ['algo-1', 'algo-2'] algo-1",
        "algo-2 algo-2 ['algo-1', 'algo-2'] algo-2",
    ]
    assert done.status.status == "Completed"


def test_hosts_with_one_hostname_meet_at_the_first_host(docker_engine: DockerClient, tmp_path: Path) -> None:
    """torch is not in the image: a program named torchrun does the same with the arguments that torchrun gets."""
    torchrun = r"""#!/usr/bin/env python3
import socket, sys
options = dict(item[2:].split('=', 1) for item in sys.argv[1:] if item.startswith('--') and '=' in item)
address = (options['master_addr'], int(options['master_port']))
rank, n_nodes = int(options['node_rank']), int(options['nnodes'])
if rank == 0:
    with socket.create_server(('', address[1])) as server:
        server.settimeout(60)
        peer, _ = server.accept()
        print(socket.gethostname(), rank, n_nodes, peer.recv(100).decode())
else:
    while True:
        try:
            with socket.create_connection(address) as peer:
                peer.sendall(f'{socket.gethostname()} {rank}'.encode())
            break
        except ConnectionRefusedError:
            pass
"""
    start = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"
    command = ["python3", "-c", start, "python3", *torchrun_command(TWO)]
    trial = {
        "version": 1,
        "sweep_id": "s1",
        "number": 0,
        "params": {"lr": 1},
        "program": "train.py",
        "command": command,
    }
    jobs = Jobs(
        folder=tmp_path,
        kind="docker",
        image=IMAGE,
        environ={"PATH": os.environ["PATH"], "SMSWEEP_DOCKER_HOSTNAME": "aws"},
    )
    try:
        request = jobs.request("ranks", files={"torchrun": torchrun}, ResourceConfig=TWO)
        request["HyperParameters"] = {"smsweep": json.dumps(trial)}
        jobs.backend.submit(request)
        done = jobs.finish(request["TrainingJobName"])
    finally:
        jobs.close()
    assert done.lines == ("aws 0 2 aws 1",), done
    assert done.status.status == "Completed"


def test_first_failure_ends_the_job_and_is_its_reason(jobs: Jobs) -> None:
    script = """
import os, time
if os.environ['SM_CURRENT_HOST'] == 'algo-2':
    raise RuntimeError('no peer')
time.sleep(60)
"""
    status = jobs.run("half", script, ResourceConfig=TWO).status
    assert (status.status, status.exit_code) == ("Failed", 1)
    assert status.failure_reason.startswith("algo-2: RuntimeError: no peer")


def test_removed_container_ends_the_job_on_every_host(jobs: Jobs, docker_engine: DockerClient) -> None:
    name = jobs.start("robbed", "import time; print('ready', flush=True); time.sleep(60)", ResourceConfig=TWO)
    while read_all(jobs.backend, name) != ("ready", "ready"):
        assert not jobs.backend.describe([name])[name].is_terminal
        jobs.backend.wait(0.05)
    started = time.monotonic()
    docker_engine.containers.get(f"{name}-algo-2").remove(force=True)
    status = jobs.finish(name).status
    assert (status.status, status.is_lost) == ("Failed", True)
    assert time.monotonic() - started < 30


def test_taken_name_of_the_second_host_starts_no_container(jobs: Jobs, docker_engine: DockerClient) -> None:
    other = docker_engine.containers.create(IMAGE, ["true"], name=f"{jobs.name('taken')}-algo-2")
    try:
        done = jobs.run("taken", "print('ran')", ResourceConfig=TWO)
        assert done.status.failure_reason.startswith(f"container {other.name} already exists")
        assert (done.lines, docker_engine.containers.get(str(other.name)).id) == ((), other.id)
    finally:
        other.remove()


def test_temporary_network_of_a_killed_agent_is_replaced(jobs: Jobs, docker_engine: DockerClient) -> None:
    name = jobs.name("asked")
    docker_engine.networks.create(name, labels={LABEL: name, LABEL_TEMPORARY: ""})
    assert jobs.run("asked", "", ResourceConfig=TWO).status.status == "Completed"


def test_network_of_another_owner_is_not_used(jobs: Jobs, docker_engine: DockerClient) -> None:
    other = docker_engine.networks.create(jobs.name("net"))
    try:
        status = jobs.run("net", "", ResourceConfig=TWO).status
        assert status.failure_reason.startswith(
            f"network {other.name} already exists and does not belong to this job"
        )
        assert docker_engine.networks.get(str(other.id)).name == other.name
    finally:
        other.remove()


def test_stop_reaches_every_host(jobs: Jobs) -> None:
    script = """
import os, signal, sys, time
host = os.environ['SM_CURRENT_HOST']
signal.signal(signal.SIGTERM, lambda *_: (print(host, 'told', flush=True), sys.exit(0)))
print(host, 'ready', flush=True)
time.sleep(60)
"""
    name = jobs.start("stop", script, ResourceConfig=TWO)
    for host in ("algo-1", "algo-2"):
        jobs.until_says(name, f"{host} ready")
    jobs.backend.stop(name)
    done = jobs.finish(name)
    assert done.status.status == "Stopped"
    assert {"algo-1 told", "algo-2 told"} <= set(done.lines)


def test_isolated_hosts_reach_only_each_other(jobs: Jobs) -> None:
    script = """
import os, socket
other = 'algo-2' if os.environ['SM_CURRENT_HOST'] == 'algo-1' else 'algo-1'
print(bool(socket.gethostbyname(other)), open('/proc/net/route').read().count('\\t00000000\\t00000000\\t0003'))
"""
    done = jobs.run("isolated", script, ResourceConfig=TWO, EnableNetworkIsolation=True)
    assert done.lines == ("True 0", "True 0")


def test_sharded_channel_is_distributed_and_a_replicated_channel_is_not(jobs: Jobs) -> None:
    data = jobs.folder / "data"
    data.mkdir()
    for name in "abcde":
        (data / name).write_text(name)
    request = jobs.request(
        "shards",
        """
import json, os
print(json.dumps({name: sorted(os.listdir(f'/opt/ml/input/data/{name}')) for name in ('all', 'part')}))
""",
        ResourceConfig=TWO,
    )
    request["InputDataConfig"] += [
        channel("all", data.as_uri()),
        channel("part", data.as_uri(), S3DataDistributionType="ShardedByS3Key"),
    ]
    jobs.backend.submit(request)
    seen = [json.loads(line) for line in jobs.finish(request["TrainingJobName"]).lines]
    assert [host["all"] for host in seen] == [list("abcde")] * 2
    assert sorted(host["part"] for host in seen) == [["a", "c", "e"], ["b", "d"]]


def test_link_in_a_sharded_channel_has_the_content_of_its_target(jobs: Jobs) -> None:
    data = jobs.folder / "data"
    data.mkdir()
    (data / "b").write_text("text")
    (data / "a").symlink_to("b")
    script = """
import os
if os.environ['SM_CURRENT_HOST'] == 'algo-1':
    print(open('/opt/ml/input/data/part/a').read())
"""
    request = jobs.request("links", script, ResourceConfig=TWO)
    request["InputDataConfig"] += [channel("part", data.as_uri(), S3DataDistributionType="ShardedByS3Key")]
    jobs.backend.submit(request)
    assert jobs.finish(request["TrainingJobName"]).lines == ("text",)


def test_models_of_all_hosts_are_in_one_archive(jobs: Jobs) -> None:
    script = """
import os
open('/opt/ml/model/' + os.environ['SM_CURRENT_HOST'], 'w').write('m')
"""
    jobs.run("models", script, ResourceConfig=TWO)
    with tarfile.open(jobs.folder / "results" / jobs.name("models") / "output" / "model.tar.gz") as model:
        assert model.getnames() == ["algo-1", "algo-2"]


def test_instance_groups_have_their_own_types_and_channels(jobs: Jobs) -> None:
    data = jobs.folder / "data"
    data.mkdir()
    for name in "abc":
        (data / name).write_text(name)
    script = """
import json, os
config = json.load(open('/opt/ml/input/config/resourceconfig.json'))
keys = ('current_host', 'current_group_name', 'current_instance_type')
part = '/opt/ml/input/data/part'
print([config[key] for key in keys], sorted(os.listdir(part)) if os.path.exists(part) else None, config['hosts'])
"""
    groups = [
        {"InstanceGroupName": "cpu", "InstanceType": "ml.c5.large", "InstanceCount": 1},
        {"InstanceGroupName": "gpu", "InstanceType": "ml.p3.2xlarge", "InstanceCount": 2},
    ]
    request = jobs.request("groups", script, ResourceConfig={"InstanceGroups": groups, "VolumeSizeInGB": 1})
    sharded = channel("part", data.as_uri(), S3DataDistributionType="ShardedByS3Key")
    sharded["DataSource"]["S3DataSource"]["InstanceGroupNames"] = ["gpu"]
    request["InputDataConfig"].append(sharded)
    jobs.backend.submit(request)
    hosts = ["algo-1", "algo-2", "algo-3"]
    assert sorted(jobs.finish(request["TrainingJobName"]).lines) == [
        f"['algo-1', 'cpu', 'ml.c5.large'] None {hosts}",
        f"['algo-2', 'gpu', 'ml.p3.2xlarge'] ['a', 'c'] {hosts}",
        f"['algo-3', 'gpu', 'ml.p3.2xlarge'] ['b'] {hosts}",
    ]
