"""Channels from S3 and results to S3, against moto's server."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from tests.support.jobs import Jobs, channel
from tools.environments import oracle

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
LIST = "import json, os; print(json.dumps(sorted(os.listdir('/opt/ml/input/data/train'))))"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("moto") / "log"
    command = [str(oracle("moto").python.parent / "moto_server"), "-p", str(port)]
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def s3(endpoint: str) -> Iterator[S3Client]:
    """A client, with an empty bucket named `bucket`."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            client.create_bucket(Bucket="bucket")
            break
        except EndpointConnectionError:
            assert time.monotonic() < deadline, "moto's server does not start"
            time.sleep(0.1)
    yield client
    for item in client.list_objects_v2(Bucket="bucket").get("Contents", ()):
        client.delete_object(Bucket="bucket", Key=item["Key"])
    client.close()


@pytest.fixture
def s3_jobs(jobs: Jobs, endpoint: str) -> Jobs:
    jobs.backend = jobs.another(AWS_ENDPOINT_URL=endpoint, **KEYS)
    return jobs


def listed(jobs: Jobs, label: str, uri: str, **options: object) -> object:
    return json.loads(jobs.run(label, LIST, channels={"train": uri}, **options).lines[-1])


def test_prefix_channel_has_its_objects(s3_jobs: Jobs, s3: S3Client) -> None:
    for key in ("data/train/a.csv", "data/train/deep/b.csv", "data/train/", "data/other/c.csv"):
        s3.put_object(Bucket="bucket", Key=key, Body=b"x")
    assert listed(s3_jobs, "slash", "s3://bucket/data/train/") == ["a.csv", "deep"]
    assert listed(s3_jobs, "bare", "s3://bucket/data/train") == ["a.csv", "deep"]


def test_channel_of_one_object_has_a_file_of_its_name(s3_jobs: Jobs, s3: S3Client) -> None:
    s3.put_object(Bucket="bucket", Key="data/train.csv", Body=b"x")
    assert listed(s3_jobs, "object", "s3://bucket/data/train.csv") == ["train.csv"]


def test_manifest_channel_has_the_listed_objects(s3_jobs: Jobs, s3: S3Client) -> None:
    s3.put_object(Bucket="bucket", Key="data/a.csv", Body=b"x")
    s3.put_object(Bucket="bucket", Key="data/b.csv", Body=b"x")
    manifest = json.dumps([{"prefix": "s3://bucket/data/"}, "b.csv"])
    s3.put_object(Bucket="bucket", Key="manifest.json", Body=manifest.encode())
    request = s3_jobs.request("manifest", LIST)
    request["InputDataConfig"].append(channel("train", "s3://bucket/manifest.json", S3DataType="ManifestFile"))
    s3_jobs.backend.submit(request)
    assert s3_jobs.finish(request["TrainingJobName"]).lines == ('["b.csv"]',)


@pytest.mark.parametrize("text", ["{", "[]", '["a.csv"]', '[{"prefix": "s3://bucket/"}, 3]'])
def test_invalid_manifest_fails_with_its_name(s3_jobs: Jobs, s3: S3Client, text: str) -> None:
    s3.put_object(Bucket="bucket", Key="manifest.json", Body=text.encode())
    request = s3_jobs.request("no-manifest", LIST)
    request["InputDataConfig"].append(channel("train", "s3://bucket/manifest.json", S3DataType="ManifestFile"))
    s3_jobs.backend.submit(request)
    reason = s3_jobs.finish(request["TrainingJobName"]).status.failure_reason
    assert reason.startswith("channel train: s3://bucket/manifest.json: not a manifest; expected JSON such as [{")


def test_key_can_contain_url_delimiters(s3_jobs: Jobs, s3: S3Client) -> None:
    for key in ("odd/what?/a#1.csv", "odd/what/b.csv"):
        s3.put_object(Bucket="bucket", Key=key, Body=b"x")
    assert listed(s3_jobs, "odd", "s3://bucket/odd/what?/") == ["a#1.csv"]


@pytest.mark.parametrize("keys", [("two/a", "two/a/b"), ("two/" + "n" * 300,)])
def test_conflicting_keys_fail_with_the_key(s3_jobs: Jobs, s3: S3Client, keys: tuple[str, ...]) -> None:
    for key in keys:
        s3.put_object(Bucket="bucket", Key=key, Body=b"x")
    status = s3_jobs.run("two", LIST, channels={"train": "s3://bucket/two/"}).status
    assert status.failure_reason.startswith(
        f"channel train: S3 key '{keys[-1]}': cannot be a file on this machine: "
    )


def test_objects_are_downloaded_again_only_after_a_change(s3_jobs: Jobs, s3: S3Client) -> None:
    read = "print(open('/opt/ml/input/data/train/a').read())"
    uri = {"train": "s3://bucket/once/"}
    s3.put_object(Bucket="bucket", Key="once/a", Body=b"old")
    assert s3_jobs.run("once-1", read, channels=uri).lines == ("old",)
    assert s3_jobs.run("once-2", read, channels=uri).lines == ("old",)
    assert len(cached(s3_jobs)) == 1
    s3.put_object(Bucket="bucket", Key="once/a", Body=b"new")
    assert s3_jobs.run("once-3", read, channels=uri).lines == ("new",)
    assert len(cached(s3_jobs)) == 2


def test_job_ends_when_it_is_stopped_during_the_download(s3_jobs: Jobs, s3: S3Client) -> None:
    for number in range(200):
        s3.put_object(Bucket="bucket", Key=f"data/{number}", Body=b"x")
    name = s3_jobs.start("enough", "", channels={"train": "s3://bucket/data/"})
    s3_jobs.until(name, lambda status: status.secondary_status == "Downloading")
    s3_jobs.backend.stop(name)
    assert s3_jobs.finish(name).status.status == "Stopped"
    assert list((s3_jobs.folder / "cache" / "s3").glob("*")) == []


def test_key_outside_the_folder_fails_with_the_key(s3_jobs: Jobs, s3: S3Client) -> None:
    s3.put_object(Bucket="bucket", Key="evil/../../x", Body=b"x")
    status = s3_jobs.run("evil", LIST, channels={"train": "s3://bucket/evil/"}).status
    assert status.failure_reason.startswith(
        "channel train: S3 key 'evil/../../x': is outside the channel's folder"
    )


def test_double_slash_in_a_key_counts_as_one(s3_jobs: Jobs, s3: S3Client) -> None:
    s3.put_object(Bucket="bucket", Key="data//a.csv", Body=b"x")
    assert listed(s3_jobs, "slashes", "s3://bucket/data") == ["a.csv"]


def test_uri_without_bucket_fails_with_the_uri(s3_jobs: Jobs) -> None:
    status = s3_jobs.run("nowhere", "", channels={"train": "s3:///data/"}).status
    assert status.failure_reason.startswith("channel train: 's3:///data/' is not a valid name in S3")


def test_result_with_an_invalid_name_fails_with_the_name(s3_jobs: Jobs) -> None:
    output = {"S3OutputPath": "s3://bucket/out", "CompressionType": "NONE"}
    script = "open(b'/opt/ml/model/caf\\xe9', 'w').close()"
    status = s3_jobs.run("latin", script, OutputDataConfig=output).status
    assert (status.is_lost, "model/caf\\udce9' is not a valid name in S3" in status.failure_reason) == (
        False,
        True,
    )


def test_empty_prefix_fails_with_its_name(s3_jobs: Jobs, s3: S3Client) -> None:
    status = s3_jobs.run("nothing", LIST, channels={"train": "s3://bucket/nothing/"}).status
    assert status.failure_reason == "channel train: s3://bucket/nothing/: there are no objects"


def test_results_and_checkpoints_are_uploaded_to_s3(s3_jobs: Jobs, s3: S3Client) -> None:
    script = """
import os
print(os.listdir('/opt/ml/checkpoints'))
open('/opt/ml/checkpoints/last', 'w').write('1')
open('/opt/ml/model/weights', 'w').write('w')
"""
    fields = {
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints/7"},
    }
    assert s3_jobs.run("first", script, **fields).lines == ("[]",)
    assert s3_jobs.run("second", script, **fields).lines == ("['last']",)
    model = f"out/{s3_jobs.name('first')}/output/model.tar.gz"
    assert s3.head_object(Bucket="bucket", Key=model)["ContentLength"] > 0


def test_checkpoints_are_uploaded_after_a_stop_and_can_be_overwritten(s3_jobs: Jobs, s3: S3Client) -> None:
    script = """
import os, time
step = len(os.listdir('/opt/ml/checkpoints'))
open('/opt/ml/checkpoints/0', 'w').write(str(step))
open(f'/opt/ml/checkpoints/{step}', 'w').write(str(step))
print('step', step, flush=True)
time.sleep(60)
"""
    for step in range(2):
        name = s3_jobs.start(f"stop-{step}", script, CheckpointConfig={"S3Uri": "s3://bucket/checkpoints/9"})
        s3_jobs.until_says(name, f"step {step}")
        s3_jobs.backend.stop(name)
        assert s3_jobs.finish(name).status.status == "Stopped"
    keys = ("checkpoints/9/0", "checkpoints/9/1")
    assert [s3.get_object(Bucket="bucket", Key=key)["Body"].read() for key in keys] == [b"1", b"1"]


def test_deleted_checkpoint_is_deleted_from_s3(s3_jobs: Jobs, s3: S3Client) -> None:
    for key in ("old", "deep/old", "kept"):
        s3.put_object(Bucket="bucket", Key=f"checkpoints/6/{key}", Body=b"x")
    script = """
import os, shutil
os.remove('/opt/ml/checkpoints/old')
shutil.rmtree('/opt/ml/checkpoints/deep')
open('/opt/ml/checkpoints/new', 'w').write('1')
"""
    s3_jobs.run("removed", script, CheckpointConfig={"S3Uri": "s3://bucket/checkpoints/6/"})
    found = s3.list_objects_v2(Bucket="bucket", Prefix="checkpoints/6/")["Contents"]
    assert [item["Key"] for item in found] == ["checkpoints/6/kept", "checkpoints/6/new"]


def test_rejected_results_fail_the_job_and_do_not_block_others(s3_jobs: Jobs, s3: S3Client) -> None:
    script = "open('/opt/ml/model/weights', 'w').write('w')"
    status = s3_jobs.run("refused", script, OutputDataConfig={"S3OutputPath": "s3://no-such-bucket/out"}).status
    assert (status.status, status.exit_code) == ("Failed", 0)
    assert status.failure_reason.startswith("the results of the job cannot be stored: s3://no-such-bucket/out/")
    assert s3.list_buckets()["Buckets"][0]["Name"] == "bucket"


def test_shards_of_a_prefix_are_distributed_to_the_hosts(s3_jobs: Jobs, s3: S3Client) -> None:
    for key in ("a", "b", "deep/c"):
        s3.put_object(Bucket="bucket", Key=f"shards/{key}", Body=key.encode())
    script = "import glob; print(sorted(glob.glob('/opt/ml/input/data/train/**', recursive=True)))"
    two = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 10}
    request = s3_jobs.request("shards", script, ResourceConfig=two)
    sharded = channel("train", "s3://bucket/shards/", S3DataDistributionType="ShardedByS3Key")
    request["InputDataConfig"].append(sharded)
    s3_jobs.backend.submit(request)
    output = "".join(s3_jobs.finish(request["TrainingJobName"]).lines)
    root = "/opt/ml/input/data/train"
    assert f"['{root}/', '{root}/a', '{root}/deep', '{root}/deep/c']" in output
    assert f"['{root}/', '{root}/b']" in output


def test_link_of_a_container_is_not_uploaded(s3_jobs: Jobs, s3: S3Client) -> None:
    script = (
        "import os; os.symlink('/etc/hostname', '/opt/ml/checkpoints/link'); open('/opt/ml/checkpoints/a', 'w')"
    )
    s3_jobs.run("link", script, CheckpointConfig={"S3Uri": "s3://bucket/checkpoints/8"})
    listed = s3.list_objects_v2(Bucket="bucket", Prefix="checkpoints/8/")
    assert [item["Key"] for item in listed["Contents"]] == ["checkpoints/8/a"]


def test_missing_bucket_fails_with_its_name(s3_jobs: Jobs, s3: S3Client) -> None:
    status = s3_jobs.run("bucket", LIST, channels={"train": "s3://no-such-bucket/x/"}).status
    assert "s3://no-such-bucket/x/" in status.failure_reason
    with pytest.raises(ClientError):
        s3.head_bucket(Bucket="no-such-bucket")


def cached(jobs: Jobs) -> list[Path]:
    return list((jobs.folder / "cache" / "s3").iterdir())
