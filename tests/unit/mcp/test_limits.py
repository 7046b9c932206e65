"""The checks of a job against the limits of an MCP server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from smsweep.config_files.job_yaml import parse_job
from smsweep.errors import ConfigError
from smsweep.mcp.limits import Limits

ROLE = "arn:aws:iam::123456789012:role/trainer"
PAID: Mapping[str, Any] = {"instance_type": "ml.m5.large", "role": ROLE}
ESCAPES = "escapes, queries and hosts are not allowed"
API = "expected s3://"  # the API's rules apply before the limits
OWN = "contains smsweep's own files"


def limits_in(folder: Path) -> Limits:
    for name in ("data", "my data", ".smsweep/jobs", "%2e%2e"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Limits(
        max_trials=10,
        budget_usd=5,
        backends=("process", "docker", "sagemaker"),
        instance_types={"ml.m5.large": 0.115},
        roles=(ROLE,),
        folders=(folder,),
        workspace=folder / ".smsweep",
    )


def problems(folder: Path, job: Mapping[str, Any], backend: str = "docker") -> str:
    """Return the errors of a job; "" for an allowed job."""
    limits = limits_in(folder)
    try:
        limits.check_job(parse_job(job).template, backend)
    except ConfigError as err:
        return str(err)
    return ""


@pytest.mark.parametrize(
    "uri", ["file://{}/data", "file://{}/data/", "file://{}/my data", "file://{}/my%20data", "file://{}/new"]
)
def test_folders_of_the_allowed_folder_are_allowed(tmp_path: Path, uri: str) -> None:
    uri = uri.format(tmp_path)
    assert problems(tmp_path, {"inputs": {"data": uri}}) == ""
    assert problems(tmp_path, {"output_path": uri, "checkpoint_s3_uri": uri}) == ""
    assert problems(tmp_path, {"request": {"OutputDataConfig": {"S3OutputPath": uri}}}) == ""


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("file:///etc", "outside the allowed folders"),
        ("file://{}/..", "outside the allowed folders"),
        ("file://{}/link", "outside the allowed folders"),
        ("FILE:///etc", API),
        ("file:/etc", API),
        (" file:///etc", API),
        ("fi\tle:///etc", API),
        ("file:///et\tc", ESCAPES),
        # Path(...) of these texts is in the folder, and urlsplit(...).path is not.
        ("file:///etc?/../../{}/data", ESCAPES),
        ("file:///etc#/../../{}/data", ESCAPES),
        ("file:///etc%3F/../../{}/data", ESCAPES),
        ("file://data/etc", API),
        ("file://{}/%2e%2e", ESCAPES),
        ("file://{}/%252e%252e", ESCAPES),
        ("file://[/etc", API),
        ("file://{}", OWN),
        ("file://{}/.smsweep", OWN),
        ("file://{}/.smsweep/jobs/x", OWN),
        ("file://{}/store", OWN),
        ("s3://bucket/data", "with the user's credentials"),
    ],
)
def test_locations_of_other_files_are_refused(tmp_path: Path, uri: str, message: str) -> None:
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "store").symlink_to(tmp_path / ".smsweep")
    uri = uri.format(tmp_path)
    source = {"S3DataType": "S3Prefix", "S3Uri": uri}
    for request in (
        {"OutputDataConfig": {"S3OutputPath": uri}},
        {"CheckpointConfig": {"S3Uri": uri}},
        {"InputDataConfig": [{"ChannelName": "data", "DataSource": {"S3DataSource": source}}]},
    ):
        assert message in problems(tmp_path, {"request": request})


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({"secrets": {"A": "env:HOME"}}, "secrets: an MCP client cannot pass secrets"),
        ({"environment": {"SMSWEEP_SECRET_A": "env:HOME"}}, "environment.SMSWEEP_SECRET_A: an MCP client"),
        ({"request": {"Environment": {"SMSWEEP_SECRET_A": "env:HOME"}}}, "environment.SMSWEEP_SECRET_A: an MCP"),
        ({"secrets_env": True}, "secrets_env: an MCP client cannot"),
        ({"notify": "http://169.254.169.254/"}, "notify: an MCP client cannot"),
        ({"notify": "env:HOOK"}, "notify: an MCP client cannot"),
        ({"notify": {"command": ["true"]}}, "notify: an MCP client cannot"),
        ({"tracking": {"mlflow": "http://169.254.169.254/"}}, "tracking: an MCP client cannot"),
        ({"places": ["process:2"]}, "places: a sweep of an MCP client"),
        ({"retries": {"user": 1}}, "retries.user: 1 is not allowed; use at most 0"),
        ({"retries": {"crashed": 1000}}, "retries.crashed: 1000 is not allowed; use at most 1"),
        ({"role": ROLE + "-admin"}, f"role: {ROLE}-admin is not allowed; use {ROLE}"),
    ],
    ids=lambda value: str(value)[:60],
)
@pytest.mark.parametrize("backend", ["process", "docker", "sagemaker"])
def test_keys_beyond_the_limits_are_refused(tmp_path: Path, job: Any, message: str, backend: str) -> None:
    assert message in problems(tmp_path, {**PAID, **job}, backend)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({"instance_type": "ml.p5.48xlarge"}, "instance_type: ml.p5.48xlarge is not allowed; use ml.m5.large"),
        ({"request": {"ResourceConfig": {"InstanceType": "ml.p5.48xlarge"}}}, "ml.p5.48xlarge is not allowed"),
        ({"volume_size": 16_000}, "volume_size: 16000 is not allowed; use at most 200"),
        ({"request": {"ResourceConfig": {"VolumeSizeInGB": 201}}}, "volume_size: 201 is not allowed"),
        (
            {"training_plan": "arn:aws:sagemaker:eu-west-1:123456789012:training-plan/a"},
            "ResourceConfig.TrainingPlanArn: not allowed",
        ),
        (
            {
                "request": {
                    "DebugRuleConfigurations": [
                        {
                            "RuleConfigurationName": "rule",
                            "RuleEvaluatorImage": "image",
                            "InstanceType": "ml.p3.16xlarge",
                        }
                    ]
                }
            },
            "request.DebugRuleConfigurations: not allowed; remove it",
        ),
        ({"request": {"ProfilerConfig": {"DisableProfiler": False}}}, "request.ProfilerConfig: not allowed"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_costs_beyond_the_price_of_allowed_instances_are_refused(tmp_path: Path, job: Any, message: str) -> None:
    assert message in problems(tmp_path, {**PAID, **job}, "sagemaker")


def test_allowed_job_has_the_usual_keys(tmp_path: Path) -> None:
    job = {
        **PAID,
        "image_uri": "image",
        "instance_count": 2,
        "volume_size": 200,
        "max_run": 600,
        "max_wait": 900,
        "use_spot_instances": True,
        "checkpoint_s3_uri": "s3://bucket/checkpoints",
        "inputs": {"data": "s3://bucket/data"},
        "output_path": "s3://bucket/output",
        "environment": {"LEVEL": "1"},
        "tags": {"team": "a"},
        "retries": {"crashed": 0, "capacity": 10},
        "subnets": ["subnet-0123"],
        "security_group_ids": ["sg-0123"],
        "budget": {"usd": 1},
        "price_per_hour": 1,
    }
    assert problems(tmp_path, job, "sagemaker") == ""
