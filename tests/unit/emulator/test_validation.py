"""Validation of requests with the model of botocore, and the error messages of SageMaker."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, Shape, StructureShape
from hypothesis import given
from hypothesis import strategies as st

from smsweep.aws import request_model
from smsweep.emulator.api import validation
from smsweep.emulator.api_error import ApiError

ROLE = "arn:aws:iam::123456789012:role/trainer"
REQUEST: dict[str, Any] = {
    "TrainingJobName": "job",
    "RoleArn": ROLE,
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
}


def refusal(**changes: Any) -> tuple[str, str]:
    with pytest.raises(ApiError) as refused:
        validation.check("CreateTrainingJob", {**REQUEST, **changes})
    return refused.value.code, refused.value.message


def with_metric(regex: str) -> dict[str, Any]:
    return {
        **REQUEST,
        "AlgorithmSpecification": {
            "TrainingImage": "image",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": regex}],
        },
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }


def test_valid_request_is_accepted() -> None:
    validation.check("CreateTrainingJob", REQUEST)


def test_null_field_counts_as_missing() -> None:
    validation.check("CreateTrainingJob", {**REQUEST, "Tags": None})
    assert refusal(RoleArn=None)[1].startswith("1 validation error detected: Value null at 'roleArn' failed")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"TrainingJobName": "a_b"},
            "Value 'a_b' at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular "
            "expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        ),
        (
            {"Tags": [{"Key": "k", "Value": "v"}, {"Key": "k" * 129, "Value": "v"}]},
            "at 'tags.2.member.key' failed to satisfy constraint: Member must have length less than or equal to",
        ),
        (
            {"ResourceConfig": {"KeepAlivePeriodInSeconds": 21_601}},
            "Value '21601' at 'resourceConfig.keepAlivePeriodInSeconds' failed to satisfy constraint: "
            "Member must have value less than or equal to 21600",
        ),
        (
            {"AlgorithmSpecification": {"TrainingInputMode": "Files"}},
            "failed to satisfy constraint: Member must satisfy enum value set: [Pipe, File, FastFile]",
        ),
        (
            {"Environment": {"1st": "x"}},
            "Value '{1st=x}' at 'environment' failed to satisfy constraint: Map keys must satisfy constraint: [",
        ),
        (
            {"Environment": {"A": "b", "LONG": "x" * 513}},
            f"Value '{{A=b, LONG={'x' * 513}}}' at 'environment' failed to satisfy constraint: Map value must",
        ),
        (
            {"AlgorithmSpecification": {"TrainingInputMode": "File", "ContainerArguments": []}},
            "Value '[]' at 'algorithmSpecification.containerArguments' failed to satisfy constraint: Member must",
        ),
        (
            {"VpcConfig": {"SecurityGroupIds": ["sg-1", *"abcde"], "Subnets": ["s"]}},
            "Value '[sg-1, a, b, c, d, e]' at 'vpcConfig.securityGroupIds' failed to satisfy constraint: ",
        ),
        (
            {"Environment": {"LONG": "x" * 513}},
            "at 'environment' failed to satisfy constraint: Map value must satisfy constraint: [Member must have",
        ),
        (
            {"HyperParameters": {str(number): "" for number in range(101)}},
            "at 'hyperParameters' failed to satisfy constraint: Member must have length less than or equal to 100",
        ),
    ],
)
def test_broken_rule_has_the_message_of_sagemaker(changes: dict[str, Any], words: str) -> None:
    code, message = refusal(**changes)
    assert code == "ValidationException"
    assert words in message


@pytest.mark.parametrize("regex", ["(", "[0-9", "*"])
def test_invalid_regex_of_a_metric_is_refused(regex: str) -> None:
    with pytest.raises(ApiError) as caught:
        validation.check_create(with_metric(regex), "us-east-1", lambda uri: True)
    assert caught.value.code == "ValidationException"
    assert f"Invalid regex {regex!r} of metric 'loss'" in caught.value.message


@pytest.mark.parametrize("regex", [r"(?<value>\p{Digit}+)", "(?<=loss=)([0-9]+)", "loss=(.*?);"])
def test_regex_of_java_is_accepted(regex: str) -> None:
    validation.check_create(with_metric(regex), "us-east-1", lambda uri: True)


@pytest.mark.parametrize(("text", "rules"), [("Köln ✓ e\u0301", []), ("a\x00", ["pattern"])])
def test_pattern_with_categories_of_unicode_is_checked(text: str, rules: list[str]) -> None:
    request = {"ModelPackageGroupName": "g", "ModelPackageGroupDescription": text}
    assert [item.rule for item in request_model.violations("CreateModelPackageGroup", request)] == rules


def test_every_pattern_of_the_model_compiles() -> None:
    shapes = Loader().load_service_model("sagemaker", "service-2")["shapes"]
    patterns = {shape["pattern"] for shape in shapes.values() if "pattern" in shape}
    assert len(patterns) > 100
    assert [each for each in patterns if request_model._compiled(each).pattern == "(?s:.*)"] == []


def test_several_problems_are_in_one_error() -> None:
    _, message = refusal(TrainingJobName="a_b", RoleArn="not the ARN of a role")
    assert message.startswith("2 validation errors detected: ")


def test_wrong_type_is_a_serialization_error() -> None:
    assert refusal(TrainingJobName=7) == ("SerializationException", "trainingJobName: expected string, got int")


def test_unknown_field_is_rejected() -> None:
    assert "colour" in refusal(Colour="red")[1]


@pytest.mark.parametrize("name", ["a", "a-b", "a--b", "A1-b2", "x" * 63])
def test_valid_job_name_is_accepted(name: str) -> None:
    validation.check("CreateTrainingJob", {**REQUEST, "TrainingJobName": name})


@pytest.mark.parametrize("name", ["", "-a", "a-", "a.b", "a b", "ä", "x" * 64, "a\n"])
def test_invalid_job_name_is_rejected(name: str) -> None:
    assert refusal(TrainingJobName=name)[0] == "ValidationException"


def test_tags_accept_letters_of_any_script_but_no_json() -> None:
    validation.check("CreateTrainingJob", {**REQUEST, "Tags": [{"Key": "équipe", "Value": "赤 1"}]})
    assert refusal(Tags=[{"Key": "k", "Value": '{"a": 1}'}])[0] == "ValidationException"


@pytest.mark.parametrize("separator", ["\n", "\t", "\x0b"])
def test_tags_reject_control_characters(separator: str) -> None:
    assert refusal(Tags=[{"Key": "k", "Value": f"a{separator}b"}])[0] == "ValidationException"
    validation.check("CreateTrainingJob", {**REQUEST, "Tags": [{"Key": "k", "Value": "a\u00a0b\u2003c"}]})


@pytest.mark.parametrize("end", ["\n", "\r", "\u0085", "\u2028", "\u2029"])
def test_dot_in_a_pattern_does_not_match_a_newline(end: str) -> None:
    text = f"a{end}b"
    assert refusal(HyperParameters={"x": text})[0] == "ValidationException"
    assert refusal(AlgorithmSpecification={"TrainingInputMode": "File", "ContainerArguments": [text]})
    validation.check("CreateTrainingJob", {**REQUEST, "Environment": {"X": text}})  # [\S\s]*


@pytest.mark.parametrize(
    "action", ["CreateTrainingJob", "ListTrainingJobs", "Search", "UpdateTrainingJob", "AddTags", "DeleteTags"]
)
def test_all_patterns_of_the_model_compile(action: str) -> None:
    shape = request_model.operation(action).input_shape
    assert shape is not None
    for pattern in patterns(shape, frozenset()):
        request_model._compiled(pattern)


def patterns(shape: Shape, seen: frozenset[str]) -> set[str]:
    """Return the patterns of a shape and of all shapes that it contains."""
    if shape.name in seen:
        return set()
    below: list[Shape] = []
    if isinstance(shape, StructureShape):
        below = list(shape.members.values())
    elif isinstance(shape, ListShape):
        below = [shape.member]
    elif isinstance(shape, MapShape):
        below = [shape.key, shape.value]
    own = {shape.metadata["pattern"]} if "pattern" in shape.metadata else set()
    return own.union(*(patterns(item, seen | {shape.name}) for item in below))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(["TrainingJobName", "Tags", "HyperParameters", "ResourceConfig"]), JSON))
def test_any_request_is_validated_without_internal_error(changes: dict[str, Any]) -> None:
    try:
        validation.check("CreateTrainingJob", {**REQUEST, **changes})
    except ApiError as err:
        assert err.code in ("ValidationException", "SerializationException")
