"""The resources of a trial: values, sizes, and the request that carries them."""

from __future__ import annotations

import pytest

from smsweep.core.resources import GIB, VARIABLE, Resources, is_share, parse_memory, resources_of, with_resources
from smsweep.errors import JobRejected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (16, 16 * GIB),
        (0.5, GIB // 2),
        ("16", 16 * GIB),
        ("16g", 16 * GIB),
        ("16 GiB", 16 * GIB),
        ("16Gi", 16 * GIB),
        ("1.5 gb", 3 * GIB // 2),
        ("16ib", None),
        ("16GB", 16 * GIB),
        (" 512m ", 512 << 20),
        ("1t", 1024 * GIB),
        ("100b", 100),
        (0, None),
        (-1, None),
        (True, None),
        ("", None),
        ("g", None),
        ("16x", None),
        (float("inf"), None),
        (float("nan"), None),
        (None, None),
    ],
)
def test_parse_memory_reads_gib_and_docker_units(value: object, expected: int | None) -> None:
    assert parse_memory(value) == expected


@pytest.mark.parametrize(
    ("value", "is_valid"),
    [(0, True), (0.5, True), (1, True), (8.0, True), (1.5, False), (-1, False), (True, False), ("1", False)],
)
def test_share_is_whole_number_or_fraction_below_one(value: object, is_valid: bool) -> None:
    assert is_share(value) is is_valid


def test_request_carries_resources() -> None:
    resources = Resources(gpus=0.5, cpus=4, memory_bytes=GIB)
    request = with_resources({"Environment": {"A": "1"}}, resources)
    assert resources_of(request) == resources
    assert request["Environment"]["A"] == "1"


def test_request_without_resources_is_unchanged() -> None:
    assert with_resources({"RoleArn": "r"}, Resources()) == {"RoleArn": "r"}
    assert resources_of({}) == Resources()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"gpus": 1.5}', '{"cpus": "4"}', '{"memory_bytes": -1}'])
def test_foreign_variable_is_refused(text: str) -> None:
    with pytest.raises(JobRejected, match="use resources_per_trial"):
        resources_of({"Environment": {VARIABLE: text}})


def test_job_with_several_hosts_needs_resources_of_each() -> None:
    assert Resources(gpus=2, memory_bytes=GIB).times(3) == Resources(gpus=6, memory_bytes=3 * GIB)
