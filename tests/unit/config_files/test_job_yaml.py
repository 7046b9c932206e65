"""Tests that a job.yaml becomes the CreateTrainingJob request that the SDK makes of the same arguments."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsweep.config_files.job_models import JobSection
from smsweep.config_files.job_request import PLACES
from smsweep.config_files.job_yaml import ParsedJob, parse_job, read_job
from smsweep.core.job import JobTemplate
from smsweep.errors import ConfigError

ROLE = "arn:aws:iam::123456789012:role/service-role/trainer"

NESTED = (
    "'([0-9]+)+' repeats a group that contains a repetition; remove one of the two: smsweep needs linear time for "
    "it, but other engines may need exponential time, and SageMaker uses the same regex for the graphs of its "
    "console"
)


def request(text: str) -> Any:
    return parse_job(text).template.request


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image_uri: repo/image:1", {"AlgorithmSpecification": {"TrainingImage": "repo/image:1"}}),
        ("input_mode: FastFile", {"AlgorithmSpecification": {"TrainingInputMode": "FastFile"}}),
        (f"role: {ROLE}", {"RoleArn": ROLE}),
        ("instance_type: ml.m5.large",
         {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}}),
        ("instance_type: ml.p3.2xlarge\ninstance_count: 2\nvolume_size: 100\nkeep_alive_period_in_seconds: 600",
         {"ResourceConfig": {"InstanceType": "ml.p3.2xlarge", "InstanceCount": 2, "VolumeSizeInGB": 100,
                             "KeepAlivePeriodInSeconds": 600}}),
        ("instance_groups: [{instance_group_name: a, instance_type: ml.m5.large, instance_count: 2}]",
         {"ResourceConfig": {"InstanceGroups": [{"InstanceGroupName": "a", "InstanceType": "ml.m5.large",
                                                 "InstanceCount": 2}], "VolumeSizeInGB": 30}}),
        ("max_run: 600", {"StoppingCondition": {"MaxRuntimeInSeconds": 600}}),
        ("use_spot_instances: true\nmax_wait: 100000\ncheckpoint_s3_uri: s3://b/ckpt",
         {"EnableManagedSpotTraining": True,
          "StoppingCondition": {"MaxRuntimeInSeconds": 86400, "MaxWaitTimeInSeconds": 100000},
          "CheckpointConfig": {"S3Uri": "s3://b/ckpt"}}),
        ("checkpoint_local_path: /opt/ml/ckpt", {"CheckpointConfig": {"LocalPath": "/opt/ml/ckpt"}}),
        ("output_path: s3://b/out\noutput_kms_key: alias/k\ndisable_output_compression: true",
         {"OutputDataConfig": {"S3OutputPath": "s3://b/out", "KmsKeyId": "alias/k", "CompressionType": "NONE"}}),
        ("environment: {A: text, B: 3, C: ''}", {"Environment": {"A": "text", "B": "3", "C": ""}}),
        ("tags: {team: vision, cost: 7}",
         {"Tags": [{"Key": "team", "Value": "vision"}, {"Key": "cost", "Value": "7"}]}),
        ("tags: [{Key: team, Value: vision}]", {"Tags": [{"Key": "team", "Value": "vision"}]}),
        ("subnets: [subnet-1]\nsecurity_group_ids: [sg-1, sg-2]",
         {"VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1", "sg-2"]}}),
        ("enable_network_isolation: true\nencrypt_inter_container_traffic: false",
         {"EnableNetworkIsolation": True, "EnableInterContainerTrafficEncryption": False}),
        ("max_retry_attempts: 3", {"RetryStrategy": {"MaximumRetryAttempts": 3}}),
    ],
)  # fmt: skip
def test_estimator_arguments_become_request_fields(text: str, expected: Any) -> None:
    assert request(text) == expected


def test_input_becomes_channel() -> None:
    text = (
        "inputs:\n  train: s3://b/train\n  val: {s3_data: s3://b/val, content_type: text/csv, input_mode: Pipe, "
        "distribution: ShardedByS3Key, compression: Gzip, record_wrapping: RecordIO, shuffle_seed: 7}\n"
    )
    train, val = request(text)["InputDataConfig"]
    assert train == {
        "ChannelName": "train",
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": "s3://b/train",
                "S3DataDistributionType": "FullyReplicated",
            }
        },
    }
    assert val["DataSource"]["S3DataSource"]["S3DataDistributionType"] == "ShardedByS3Key"
    assert {key: val[key] for key in ("ContentType", "InputMode", "CompressionType", "RecordWrapperType")} == {
        "ContentType": "text/csv",
        "InputMode": "Pipe",
        "CompressionType": "Gzip",
        "RecordWrapperType": "RecordIO",
    }
    assert val["ShuffleConfig"] == {"Seed": 7}


def test_single_input_becomes_training_channel() -> None:
    (channel,) = request("inputs: s3://b/data")["InputDataConfig"]
    assert channel["ChannelName"] == "training"


def test_channel_can_use_a_file_system() -> None:
    place = "file_system_id: fs-01234567, file_system_type: FSxLustre, directory_path: /fsx/x"
    text = f"inputs: {{data: {{{place}, input_mode: File}}}}"
    (channel,) = request(text)["InputDataConfig"]
    assert channel == {
        "ChannelName": "data",
        "DataSource": {
            "FileSystemDataSource": {
                "FileSystemId": "fs-01234567",
                "FileSystemType": "FSxLustre",
                "DirectoryPath": "/fsx/x",
                "FileSystemAccessMode": "ro",
            }
        },
        "InputMode": "File",
    }


def test_raw_fields_override_other_keys() -> None:
    text = (
        "instance_type: ml.m5.large\ntags: {a: b}\n"
        "request:\n  ResourceConfig: {VolumeSizeInGB: 99}\n  Tags: [{Key: c, Value: d}]\n"
        "  ExperimentConfig: {ExperimentName: e}\n"
    )
    assert request(text) == {
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 99},
        "Tags": [{"Key": "c", "Value": "d"}],
        "ExperimentConfig": {"ExperimentName": "e"},
    }


def test_null_removes_a_request_field() -> None:
    text = "instance_type: ml.m5.large\nmax_run: 60\nrequest:\n  ResourceConfig: {VolumeSizeInGB: null}\n"
    assert request(text + "  StoppingCondition: null\n  VpcConfig: null\n") == {
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1}
    }


def test_metric_definitions_reach_request_and_log_parser() -> None:
    parsed = parse_job("metric_definitions: [{Name: loss, Regex: 'loss=([0-9.]+)'}]")
    assert parsed.template.metric_definitions == (("loss", "loss=([0-9.]+)"),)
    assert parsed.template.request["AlgorithmSpecification"]["MetricDefinitions"] == [
        {"Name": "loss", "Regex": "loss=([0-9.]+)"}
    ]


def test_framework_is_stored_without_image_uri() -> None:
    template = parse_job("framework: pytorch\nframework_version: '2.10'\npy_version: py312").template
    assert template.framework == {"framework": "pytorch", "framework_version": "2.10", "py_version": "py312"}
    assert template.request == {}


def test_smsweep_keys_are_not_in_the_request() -> None:
    text = (
        "secrets: {KEY: 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:wandb-AbCdEf#api_key', "
        "P: 'arn:aws:ssm:eu-west-1:123456789012:parameter/team/key', L: 'env:MY_KEY'}\n"
        "budget: {usd: 20, hours: 3.5, trials: 10}\nretries: {crashed: 2}\n"
    )
    template = parse_job(text).template
    assert template.request == {}
    assert template.secrets["L"] == "env:MY_KEY"
    assert template.budget == {"usd": 20.0, "hours": 3.5, "trials": 10}
    assert template.retries == {"crashed": 2}


@pytest.mark.parametrize("nothing", ["", "# nothing\n", {}])
def test_empty_job_is_valid(nothing: Any) -> None:
    assert parse_job(nothing).template == JobTemplate()


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "my data").mkdir()
    (tmp_path / "job.yaml").write_text("source_dir: src\ninputs: {train: file://my data}\n")
    parsed = read_job(tmp_path / "job.yaml")
    assert parsed.template.source_dir == str(tmp_path / "src")
    assert uri(parsed) == (tmp_path / "my data").as_uri()
    assert parsed.warnings == ()


def test_local_output_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("checkpoint_s3_uri: 'file://kept #1'\noutput_path: file://out put?\n")
    request = read_job(tmp_path / "job.yaml").template.request
    assert request["CheckpointConfig"]["S3Uri"] == (tmp_path / "kept #1").as_uri()
    assert request["OutputDataConfig"]["S3OutputPath"] == (tmp_path / "out put?").as_uri()


def test_path_can_be_percent_encoded(tmp_path: Path) -> None:
    (tmp_path / "my data").mkdir()
    assert (
        uri(parse_job({"inputs": {"train": (tmp_path / "my data").as_uri()}})) == (tmp_path / "my data").as_uri()
    )
    (tmp_path / "my%20data").mkdir()
    parsed = parse_job({"inputs": {"train": f"file://{tmp_path}/my%20data"}})
    assert uri(parsed) == (tmp_path / "my%20data").as_uri()


def test_stored_job_text_reads_equal_in_another_folder(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(
        "source_dir: src\ncheckpoint_s3_uri: file://kept\noutput_path: file://out\n"
        "inputs: {train: {s3_uri: file://a b/c%20d, input_mode: File}}\n"
    )
    parsed = read_job(tmp_path / "job.yaml")
    assert parse_job(parsed.text, folder=tmp_path / "other").template == parsed.template


def test_text_without_relative_paths_is_stored_unchanged() -> None:
    text = "# why\nmax_run: 1e3 # seconds\n"
    assert parse_job(text).text == text


def test_dict_and_file_read_equal() -> None:
    mine = {"instance_type": "ml.m5.large", "source_dir": Path("/src"), "tags": {"a": 1}}
    before = copy.deepcopy(mine)
    assert (
        parse_job(mine).template
        == parse_job("instance_type: ml.m5.large\nsource_dir: /src\ntags: {a: 1}").template
    )
    assert mine == before


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("inputs: {train: file:///nowhere/at/all}",
         "inputs.train: /nowhere/at/all does not exist on this machine"),
        ("instance_type: ml.m5.larg",
         "instance_type: ml.m5.larg is unknown to the installed botocore; "
         "check the spelling, or update botocore"),
        ("use_spot_instances: true\nmax_wait: 90000",
         "use_spot_instances: an interrupted trial restarts from the beginning unless "
         "it saves checkpoints to /opt/ml/checkpoints; if it does, "
         "add checkpoint_local_path: /opt/ml/checkpoints"),
        ("metric_definitions: [{Name: a, Regex: 'x=([0-9]+)+'}]", f"metric_definitions[0].Regex: {NESTED}"),
        ("request: {AlgorithmSpecification: {MetricDefinitions: [{Name: a, Regex: 'x=([0-9]+)+'}]}}",
         f"request.AlgorithmSpecification.MetricDefinitions[0].Regex: {NESTED}"),
    ],
)  # fmt: skip
def test_risky_settings_are_warned_about(text: str, warning: str) -> None:
    assert parse_job(text, name="job.yaml").warnings == (f"job.yaml:1: {warning}",)


def test_spot_job_with_checkpoint_path_has_no_warning() -> None:
    text = "use_spot_instances: true\nmax_wait: 90000\ncheckpoint_local_path: /opt/ml/checkpoints"
    assert parse_job(text).warnings == ()


def test_numbers_and_null_are_not_secrets() -> None:
    text = "environment: {MAX_TOKEN: '512', WANDB_API_KEY: '', TOKENIZERS_PARALLELISM: 'false'}"
    assert request(text)["Environment"]["MAX_TOKEN"] == "512"


@pytest.mark.parametrize("text", ["stop_if: loss is nan", "stop_if: [loss is nan]"])
def test_stop_if_accepts_a_list_or_one_condition(text: str) -> None:
    assert parse_job(text).template.stop_if == ("loss is nan",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("entrypoint: image", "entrypoint: needs an image; add image_uri"),
        ("entrypoint: image\nimage_uri: a\nsource_dir: src", "source_dir: has no effect with entrypoint"),
        ("entrypoint: image\nimage_uri: a\nsecrets: {KEY: env:KEY}", "secrets: has no effect with"),
        ("entrypoint: image\nframework: pytorch\nframework_version: '2'\npy_version: py311",
         "entrypoint: the images of pytorch run a script; remove entrypoint, and name a program"),
        ("entrypoint: script\nimage_uri: a", "entrypoint: expected image, got 'script'"),
        ("image_uri: a\nrequest: {AlgorithmSpecification: {ContainerEntrypoint: [a]}}",
         "request.AlgorithmSpecification.ContainerEntrypoint: is not allowed in job.yaml"),
    ],
)  # fmt: skip
def test_job_of_an_image_program_has_no_source(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_job(text)
    assert problem in str(caught.value)


def test_image_program_can_have_its_own_entrypoint_or_algorithm() -> None:
    algorithm = "AlgorithmName: a, ContainerEntrypoint: [a], ContainerArguments: [b]"
    parsed = parse_job(f"entrypoint: image\nrequest: {{AlgorithmSpecification: {{{algorithm}}}}}")
    assert parsed.template.runs_image
    assert parse_job("entrypoint: image\nframework: xgboost\nframework_version: 1.7-1").template.runs_image


def test_every_key_is_a_request_field_or_known_to_smsweep() -> None:
    own = {
        "source_dir",
        "entrypoint",
        "in_place",
        "distribution",
        "secrets",
        "secrets_env",
        "repeats",
        "search",
        "confirm",
        "stop_if",
        "price_per_hour",
        "budget",
        "resources_per_trial",
        "retries",
        "notify",
        "tracking",
        "places",
        "sbatch",
        "agent",
        "request",
    }
    frameworks = {
        key for key in JobSection.model_fields if key.startswith("framework") or key.endswith("_version")
    }
    assert set(JobSection.model_fields) == {*PLACES, *own, *frameworks}


SCRAPS = st.recursive(
    st.sampled_from([None, True, 0, 1, 2.5, "x", "s3://b", "file://x", "pytorch", float("inf"), 10**400]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "Name", "Regex", "s3_uri", "Key", "Value", "Tags", "usd"]), inner),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*JobSection.model_fields, "hyperparameters", "x"]), SCRAPS, max_size=6))
def test_random_jobs_raise_only_config_errors(document: dict[str, Any]) -> None:
    assert accepts(document) in (True, False)


def accepts(document: dict[str, Any]) -> bool:
    try:
        parse_job(document)
    except ConfigError:
        return False
    return True


def uri(parsed: ParsedJob) -> str:
    found: str = parsed.template.request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"]
    return found
