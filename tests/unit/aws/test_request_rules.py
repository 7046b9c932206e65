"""Rules between fields of a request, which the model of the API does not contain."""

from __future__ import annotations

from typing import Any

import pytest

from smsweep.aws.request_rules import broken_rules

GROUP = {"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 1}
EFS = {"FileSystemId": "fs-01234567", "FileSystemAccessMode": "ro", "FileSystemType": "EFS", "DirectoryPath": "/x"}
REQUEST: dict[str, Any] = {
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}


def channel(name: str, **source: Any) -> dict[str, Any]:
    return {"ChannelName": name, "DataSource": source}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {
                "ResourceConfig": {"InstanceGroups": [GROUP]},
                "InputDataConfig": [channel("t", S3DataSource={"InstanceGroupNames": ["a", "b", "c"]})],
            },
            "Channel t: there are no instance groups b, c",
        ),
        (
            {"InputDataConfig": [channel("t", S3DataSource={"InstanceGroupNames": ["a"]})]},
            "Channel t: there are no instance groups a",
        ),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 0}},
            "InstanceCount must be greater than 0.",
        ),
        (
            {
                "ResourceConfig": {
                    "InstanceGroups": [GROUP, {**GROUP, "InstanceGroupName": "b", "InstanceCount": 0}]
                }
            },
            "InstanceCount must be greater than 0.",
        ),
        ({"ResourceConfig": {"InstanceGroups": [GROUP, GROUP]}}, "Duplicate instance group names: a"),
        (
            {"ResourceConfig": {"InstanceGroups": [GROUP], "KeepAlivePeriodInSeconds": 60}},
            "KeepAlivePeriodInSeconds is not supported with InstanceGroups.",
        ),
        (
            {"InputDataConfig": [channel("t", FileSystemDataSource=EFS)]},
            "Channel t is a file system, which needs VpcConfig.",
        ),
        ({"InputDataConfig": [channel("t"), channel("t")]}, "Duplicate channel names: t"),
        ({"Tags": [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}]}, "Duplicate tag keys: k"),
    ],
)
def test_conflicting_fields_are_reported(changes: dict[str, Any], words: str) -> None:
    assert list(broken_rules({**REQUEST, **changes})) == [words]


def test_compatible_fields_are_accepted() -> None:
    request = {
        **REQUEST,
        "ResourceConfig": {"InstanceGroups": [GROUP, {**GROUP, "InstanceGroupName": "b"}]},
        "InputDataConfig": [
            channel("t", S3DataSource={"InstanceGroupNames": ["b"]}),
            channel("u", FileSystemDataSource=EFS),
        ],
        "VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        "Tags": [{"Key": "k", "Value": "1"}, {"Key": "K", "Value": "1"}],
    }
    assert list(broken_rules(request)) == []
