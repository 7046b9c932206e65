"""Files for AWS in examples/ are valid requests for the models of AWS."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from botocore.validate import validate_parameters

from smsweep.cli.lazy_group import load_command
from tests.support.markdown import ROOT

EXAMPLES = ROOT / "examples"
REQUESTS = {
    "ecs/task-definition.json": ("ecs", "RegisterTaskDefinition"),
    "ecs/detached-task.json": ("ecs", "RegisterTaskDefinition"),
    "ecs/run-task.json": ("ecs", "RunTask"),
    "batch/job-definition.json": ("batch", "RegisterJobDefinition"),
    "batch/submit-job.json": ("batch", "SubmitJob"),
    "ec2/launch-template.json": ("ec2", "CreateLaunchTemplate"),
    "ec2/create-fleet.json": ("ec2", "CreateFleet"),
}
COMMANDS = [
    ("ecs/detached-task.json", lambda document: document["containerDefinitions"][0]["command"]),
    ("ecs/task-definition.json", lambda document: document["containerDefinitions"][0]["command"]),
    ("batch/job-definition.json", lambda document: document["containerProperties"]["command"]),
]


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((EXAMPLES / name).read_text())
    return document


def strangers(shape: Shape, value: Any) -> Iterator[str]:
    """Yield values that are not in AWS's enums. botocore does not check enums."""
    if isinstance(shape, StructureShape):
        for name, part in value.items():
            yield from strangers(shape.members[name], part)
    elif isinstance(shape, ListShape):
        for part in value:
            yield from strangers(shape.member, part)
    elif isinstance(shape, MapShape):
        for part in value.values():
            yield from strangers(shape.value, part)
    elif isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
        yield f"{shape.name}: {value}"


@pytest.mark.parametrize("name", REQUESTS)
def test_request_is_valid_for_aws_model(name: str) -> None:
    service, operation = REQUESTS[name]
    shape = botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape
    assert shape is not None
    document = read(name)
    validate_parameters(document, shape)
    assert list(strangers(shape, document)) == []


def test_each_json_file_is_checked() -> None:
    folders = ("ecs", "batch", "ec2")
    found = {str(file.relative_to(EXAMPLES)) for folder in folders for file in (EXAMPLES / folder).glob("*.json")}
    assert found == {*REQUESTS, "ecs/task-role.json"}


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_container_command_is_valid_smsweep_command(name: str, command: Any) -> None:
    verb, *arguments = command(read(name))
    known = load_command(verb)
    options = {option for parameter in known.params for option in parameter.opts}
    assert {word for word in arguments if word.startswith("-")} <= options


def test_task_role_allows_only_required_calls() -> None:
    actions: set[str] = set()
    for statement in read("ecs/task-role.json")["Statement"]:
        assert "*" not in str(statement["Resource"]).removesuffix("/*")
        actions |= {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])
    source = (ROOT / "smsweep" / "remote" / "sqs.py").read_text()
    called = {
        f"sqs:{''.join(word.capitalize() for word in name.split('_'))}"
        for name in ("receive_message", "delete_message", "change_message_visibility", "get_queue_attributes")
        if f'"{name}"' in source
    }
    assert actions == called | {"sqs:GetQueueUrl", "sqs:SendMessage", "s3:GetObject"}


def test_user_data_is_a_script_and_fits() -> None:
    file = EXAMPLES / "ec2" / "user-data.sh"
    assert len(file.read_bytes()) < 12_000  # limit of EC2: 16 KiB in base64
    subprocess.run(["bash", "-n", str(file)], check=True)
