"""The files below /opt/ml and the environment of a container, and the results that are stored."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator

import pytest
from docker import DockerClient

from tests.docker.conftest import build
from tests.support.jobs import Jobs, channel
from tools.docker_engine import IMAGE


def show(jobs: Jobs, expression: str, **options: object) -> object:
    """Run a job that prints a value, and return it."""
    done = jobs.run("show", f"import json, os, socket, sys\nprint(json.dumps({expression}))", **options)
    assert done.status.status == "Completed", done
    return json.loads(done.lines[-1])


def test_resourceconfig_names_the_hosts_and_groups(jobs: Jobs) -> None:
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10}
    found = show(jobs, "json.load(open('/opt/ml/input/config/resourceconfig.json'))", ResourceConfig=resources)
    assert found == {
        "current_host": "algo-1",
        "current_instance_type": "ml.m5.large",
        "current_group_name": "homogeneousCluster",
        "hosts": ["algo-1"],
        "instance_groups": [
            {"instance_group_name": "homogeneousCluster", "instance_type": "ml.m5.large", "hosts": ["algo-1"]}
        ],
        "network_interface_name": "eth0",
    }


def test_inputdataconfig_has_the_mode_of_each_channel(jobs: Jobs) -> None:
    (jobs.folder / "data").mkdir()
    typed = {**channel("train", (jobs.folder / "data").as_uri()), "ContentType": "text/csv"}
    request = jobs.request("channels", "print(open('/opt/ml/input/config/inputdataconfig.json').read())")
    request["InputDataConfig"].append(typed)
    jobs.backend.submit(request)
    found = json.loads(jobs.finish(request["TrainingJobName"]).lines[-1])
    assert found["train"] == {
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
        "ContentType": "text/csv",
    }


def test_platform_variables_have_the_job_name(jobs: Jobs) -> None:
    found = show(jobs, "[os.environ['TRAINING_JOB_NAME'], os.environ['TRAINING_JOB_ARN']]")
    name = jobs.name("show")
    assert found == [name, f"arn:aws:sagemaker:local:000000000000:training-job/{name}"]


def test_environment_of_the_request_overrides_the_job_name(jobs: Jobs) -> None:
    arn = "arn:aws:sagemaker:us-east-1:123456789012:training-job/outer"
    environment = {"TRAINING_JOB_NAME": "outer", "TRAINING_JOB_ARN": arn}
    shown = "[os.environ['TRAINING_JOB_NAME'], os.environ['TRAINING_JOB_ARN']]"
    assert show(jobs, shown, environment=environment) == ["outer", arn]


def test_aws_credentials_of_the_caller_are_passed(jobs: Jobs) -> None:
    jobs.backend = jobs.another(AWS_ACCESS_KEY_ID="AKIA", AWS_SECRET_ACCESS_KEY="s", AWS_REGION="eu-west-1")
    found = show(jobs, "[os.environ['AWS_ACCESS_KEY_ID'], os.environ['AWS_REGION']]")
    assert found == ["AKIA", "eu-west-1"]


def test_no_other_variables_of_the_caller_are_passed(jobs: Jobs) -> None:
    jobs.backend = jobs.another(PRIVATE="yes", HTTP_PROXY="http://127.0.0.1:9")
    assert show(jobs, "[name for name in os.environ if name in ('PRIVATE', 'HTTP_PROXY')]") == []


def test_hostname_is_algo_1_and_resolves(jobs: Jobs) -> None:
    found = show(jobs, "[socket.gethostname(), bool(socket.gethostbyname('algo-1'))]")
    assert found == ["algo-1", True]


def test_channels_are_read_only(jobs: Jobs) -> None:
    data = jobs.folder / "data"
    data.mkdir()
    script = "open('/opt/ml/input/data/train/new', 'w')"
    status = jobs.run("readonly", script, channels={"train": data.as_uri()}).status
    assert "Read-only file system" in status.failure_reason
    assert list(data.iterdir()) == []


def test_folder_of_a_single_file_channel_is_read_only(jobs: Jobs) -> None:
    data = jobs.folder / "one.csv"
    data.write_text("1")
    script = "open('/opt/ml/input/data/train/new', 'w')"
    status = jobs.run("readonly-one", script, channels={"train": data.as_uri()}).status
    assert "Read-only file system" in status.failure_reason


def test_copied_channel_is_writable(jobs: Jobs) -> None:
    data = jobs.folder / "data"
    data.mkdir()
    (data / "old").write_text("1")
    (data / "dangling").symlink_to("nowhere")
    os.mkfifo(data / "pipe")
    jobs.backend = jobs.another(SMSWEEP_DOCKER_COPY_CHANNELS="1")
    code = "[open('/opt/ml/input/data/train/old', 'w').write('22'), sorted(os.listdir('/opt/ml/input/data'))]"
    assert show(jobs, code, channels={"train": data.as_uri()}) == [2, ["smsweep", "train"]]
    assert (data / "old").read_text() == "1"


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("strict_umask")
def test_umask_does_not_deny_access_to_the_images_user(jobs: Jobs, docker_engine: DockerClient) -> None:
    jobs.image = build(docker_engine, "smsweep-test-user", USER="12345")
    jobs.backend = jobs.another(SMSWEEP_DOCKER_COPY_CHANNELS="1")
    data = jobs.folder / "data"
    data.mkdir()
    (data / "old").write_text("1")
    script = """
import json
print(json.load(open('/opt/ml/input/config/hyperparameters.json'))['a'])
open('/opt/ml/input/data/train/old', 'a').write('2')
open('/opt/ml/input/data/train/new', 'w').write('3')
"""
    done = jobs.run("umask", script, params={"a": 1}, channels={"train": data.as_uri()})
    assert (done.status.failure_reason, done.lines) == ("", ("1",))
    assert (data / "old").read_text() == "1"


def test_single_file_channel_has_a_file_of_its_name(jobs: Jobs) -> None:
    file = jobs.folder / "numbers.csv"
    file.write_text("1")
    assert show(jobs, "os.listdir('/opt/ml/input/data/one')", channels={"one": file.as_uri()}) == ["numbers.csv"]


def test_model_and_output_are_stored_as_archives(jobs: Jobs) -> None:
    script = """
import os
os.makedirs('/opt/ml/model/deep')
open('/opt/ml/model/deep/weights', 'w').write('w')
open('/opt/ml/output/data/curve.csv', 'w').write('c')
"""
    jobs.run("artifacts", script)
    kept = jobs.folder / "results" / jobs.name("artifacts") / "output"
    with tarfile.open(kept / "model.tar.gz") as model, tarfile.open(kept / "output.tar.gz") as output:
        assert model.getnames() == ["deep", "deep/weights"]
        assert output.getnames() == ["curve.csv"]


def test_empty_model_has_no_archive(jobs: Jobs) -> None:
    jobs.run("empty", "")
    assert not (jobs.folder / "results").exists()


def test_model_folder_replaced_by_a_link_is_not_stored(jobs: Jobs) -> None:
    jobs.run("link", "import os; os.rmdir('/opt/ml/model'); os.symlink('/etc', '/opt/ml/model')")
    assert not (jobs.folder / "results").exists()


@pytest.mark.parametrize(
    "place",
    [
        "os.symlink('/etc/hostname', F)",
        "os.mkfifo(F)",
        "os.mkdir(F)",
        "open(F, 'wb').write(b'\\xff' * (64 << 20))",
    ],
)
def test_unusual_failure_file_is_read_safely(jobs: Jobs, place: str) -> None:
    entrypoint = ["python3", "-c", f"import os; F = '/opt/ml/output/failure'; {place}; os._exit(3)"]
    algorithm = {"TrainingImage": jobs.image, "TrainingInputMode": "File", "ContainerEntrypoint": entrypoint}
    jobs.backend.submit(jobs.request("strange", AlgorithmSpecification=algorithm))
    reason = jobs.finish(jobs.name("strange")).status.failure_reason
    assert reason in ("exit code 3, without /opt/ml/output/failure", "\ufffd" * 1024)


def test_uncompressed_output_is_stored_as_files(jobs: Jobs) -> None:
    output = {"S3OutputPath": (jobs.folder / "results").as_uri(), "CompressionType": "NONE"}
    script = "[open(f'/opt/ml/{place}', 'w').write('w') for place in ('model/weights', 'output/data/curve')]"
    jobs.run("plain", script, OutputDataConfig=output)
    kept = jobs.folder / "results" / jobs.name("plain") / "output"
    assert (kept / "model" / "weights").read_text() == "w"
    assert (kept / "data" / "curve").read_text() == "w"  # where backends/sagemaker/status.py says it is


def test_checkpoints_are_restored_and_stored_after_a_stop(jobs: Jobs) -> None:
    script = """
import os, time
step = len(os.listdir('/opt/ml/checkpoints'))
open(f'/opt/ml/checkpoints/{step}', 'w').write('x')
print('step', step, flush=True)
time.sleep(60)
"""
    for step in range(2):
        name = jobs.start(f"checkpoint-{step}", script)
        jobs.until_says(name, f"step {step}")
        jobs.backend.stop(name)
        assert jobs.finish(name).status.status == "Stopped"
    assert sorted(path.name for path in (jobs.folder / "checkpoints").iterdir()) == ["0", "1"]


def test_invalid_checkpoint_folder_fails_with_its_path(jobs: Jobs) -> None:
    (jobs.folder / "file").write_text("in the way")
    place = {"S3Uri": (jobs.folder / "file" / "deep").as_uri()}
    status = jobs.run("nowhere", "", CheckpointConfig=place).status
    reason = f"checkpoints: {jobs.folder}/file/deep: Not a directory; use a folder that you can write to"
    assert (status.status, status.failure_reason) == ("Failed", reason)


def test_checkpoints_can_have_another_local_path(jobs: Jobs) -> None:
    config = {"S3Uri": (jobs.folder / "elsewhere").as_uri(), "LocalPath": "/root/state"}
    jobs.run("place", "open('/root/state/a', 'w').write('a')", CheckpointConfig=config)
    assert (jobs.folder / "elsewhere" / "a").read_text() == "a"


def test_files_of_the_image_below_opt_ml_are_hidden(jobs: Jobs, docker_engine: DockerClient) -> None:
    container = docker_engine.containers.run(IMAGE, ["mkdir", "-p", "/opt/ml/hidden"], detach=True)
    container.wait()
    container.commit("smsweep-test-hidden")
    container.remove()
    jobs.image = "smsweep-test-hidden"
    assert "hidden" not in str(show(jobs, "os.listdir('/opt/ml')"))
    docker_engine.images.remove("smsweep-test-hidden")


def test_code_of_the_image_is_merged_with_the_source(jobs: Jobs, docker_engine: DockerClient) -> None:
    container = docker_engine.containers.run(
        IMAGE, ["sh", "-c", "mkdir -p /opt/ml/code && echo 'print(\"own\")' > /opt/ml/code/own.py"], detach=True
    )
    container.wait()
    container.commit("smsweep-test-code")
    container.remove()
    jobs.image = "smsweep-test-code"
    algorithm = {"TrainingImage": jobs.image, "TrainingInputMode": "File"}
    start = {"ContainerEntrypoint": ["python3", "/opt/ml/code/own.py"]}
    own = jobs.run("own", "", InputDataConfig=[], AlgorithmSpecification={**algorithm, **start})
    assert (own.status.status, own.lines) == ("Completed", ("own",))
    assert show(jobs, "sorted(os.listdir('/opt/ml/code'))") == ["own.py", "train.py"]
    docker_engine.images.remove("smsweep-test-code")


def test_volumes_and_entrypoint_of_the_image_have_no_effect(jobs: Jobs, docker_engine: DockerClient) -> None:
    container = docker_engine.containers.create(IMAGE, ["true"])
    changes = ["VOLUME /opt/ml/model", "VOLUME /opt/ml/input/data", "VOLUME /data", 'ENTRYPOINT ["false"]']
    container.commit("smsweep-test-volumes", changes=changes)
    container.remove()
    volumes = len(docker_engine.volumes.list())
    jobs.image = "smsweep-test-volumes"
    done = jobs.run("volumes", "open('/opt/ml/model/weights', 'w').write('w')")
    assert (done.status.status, (jobs.ml("volumes") / "model" / "weights").read_text()) == ("Completed", "w")
    assert len(docker_engine.volumes.list()) == volumes
    docker_engine.images.remove("smsweep-test-volumes")


def test_job_folder_is_private(jobs: Jobs) -> None:
    jobs.run("closed", "")
    assert jobs.ml("closed").parent.stat().st_mode & 0o077 == 0
