"""Policies of `smsweep iam` allow the recorded calls and no other calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smsweep.services import aws_setup
from smsweep.services.views import model_download
from tests.sagemaker.conftest import AGENT_ROLE, Account

IMPLIED = {"sagemaker:AddTags", "iam:PassRole"}  # AWS checks it inside CreateTrainingJob
DOCTOR = {  # see test_doctor.py
    "s3:GetBucketVersioning",
    "s3:GetLifecycleConfiguration",
    "iam:GetRole",
    "ecr:DescribeImages",
    "servicequotas:ListServiceQuotas",
    "servicequotas:ListAWSDefaultServiceQuotas",
}
DETACHED = {"s3:DeleteObject", "s3:ListBucket"}  # see test_detached.py
QUEUE_ACTIONS = {"ReceiveMessage": "sqs:ReceiveMessage", "DeleteMessageBatch": "sqs:DeleteMessage"}
S3_ACTIONS = {"HEAD": "s3:GetObject", "GET": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject"}


def actions(policy: dict[str, Any]) -> set[str]:
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def called(account: Account) -> set[str]:
    """Return the recorded calls of the launcher as IAM actions."""
    found = set()
    for entry in account.emulator.ledger.read():
        method, _, path = entry["action"].partition(" ")
        if entry["service"] in ("sagemaker", "logs", "pricing"):
            found.add(f"{entry['service']}:{method}")
        elif entry["service"] == "sqs":
            found.add(QUEUE_ACTIONS.get(method, ""))
        elif path.count("/") > 1 and "list-type" not in path:  # an object, not a bucket
            found.add(S3_ACTIONS[method])
    return found - {""}


def test_policies_contain_resources_of_the_template(account: Account) -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:smsweep/wandb-AbCdEf"
    found = aws_setup.policies({**account.job, "secrets": {"WANDB_API_KEY": f"{arn}#key"}})
    launcher = {statement["Sid"]: statement for statement in found["launcher"]["Statement"]}
    role = {statement["Sid"]: statement for statement in found["role"]["Statement"]}
    assert launcher["JobRole"]["Resource"] == [account.job["role"], AGENT_ROLE]
    assert launcher["Jobs"]["Resource"] == ["arn:aws:sagemaker:us-east-1:123456789012:training-job/smsweep-*"]
    assert launcher["Source"]["Resource"] == [f"arn:aws:s3:::{account.bucket}/smsweep/assets/*"]
    assert role["Secrets"]["Resource"] == [arn]
    assert role["Write"]["Resource"] == [f"arn:aws:s3:::{account.bucket}/out/*"]


def statements(policy: dict[str, Any]) -> dict[str, Any]:
    return {statement["Sid"]: statement for statement in policy["Statement"]}


def test_deletion_of_results_is_allowed_on_request(account: Account) -> None:
    job = {**account.job, "checkpoint_s3_uri": "s3://ck/points"}
    assert "DeleteResults" not in statements(aws_setup.policies(job)["launcher"])
    launcher = statements(aws_setup.policies(job, "abcd1234", with_delete=True)["launcher"])
    assert launcher["DeleteResults"]["Action"] == ["s3:DeleteObject"]
    assert launcher["DeleteResults"]["Resource"] == [
        f"arn:aws:s3:::{account.bucket}/out/smsweep-abcd1234-*/*",
        "arn:aws:s3:::ck/points/abcd1234/*",
        f"arn:aws:s3:::{account.bucket}/smsweep/assets/*",
    ]
    assert launcher["ListResults"]["Resource"] == [f"arn:aws:s3:::{account.bucket}", "arn:aws:s3:::ck"]


def test_inputs_are_allowed_as_prefixes(account: Account) -> None:
    efs = {"FileSystemId": "fs-12345678901", "FileSystemAccessMode": "ro", "FileSystemType": "EFS"}
    mounted = {"ChannelName": "c", "DataSource": {"FileSystemDataSource": {**efs, "DirectoryPath": "/x"}}}
    inputs = {"a": "s3://data/all.csv", "b": "s3://data/part/", "c": "s3://data", "d": "file:///here"}
    role = statements(aws_setup.policies({**account.job, "inputs": inputs})["role"])
    assert role["Read"]["Resource"][1:] == [
        "arn:aws:s3:::data/all.csv*",
        "arn:aws:s3:::data/part/*",
        "arn:aws:s3:::data/*",
    ]
    assert role["List"]["Resource"] == [f"arn:aws:s3:::{account.bucket}", "arn:aws:s3:::data"]
    role = statements(aws_setup.policies({**account.job, "request": {"InputDataConfig": [mounted]}})["role"])
    assert role["Read"]["Resource"] == [f"arn:aws:s3:::{account.bucket}/smsweep/assets/*"]


@pytest.mark.parametrize(
    ("key", "resource", "condition"),
    [
        ("1234-ab", "arn:aws:kms:us-east-1:123456789012:key/1234-ab", None),
        ("arn:aws:kms:us-east-1:999999999999:key/1", "arn:aws:kms:us-east-1:999999999999:key/1", None),
        ("alias/mine", "arn:aws:kms:us-east-1:123456789012:key/*", "alias/mine"),
        (
            "arn:aws:kms:us-east-1:123456789012:alias/mine",
            "arn:aws:kms:us-east-1:123456789012:key/*",
            "alias/mine",
        ),
    ],
)
def test_kms_key_has_the_form_of_a_policy(
    account: Account, key: str, resource: str, condition: str | None
) -> None:
    found = aws_setup.policies({**account.job, "output_kms_key": key, "volume_kms_key": key})
    launcher, role = statements(found["launcher"]), statements(found["role"])
    assert role["VolumeKey"]["Action"] == ["kms:CreateGrant"]
    for statement in (launcher["Keys"], role["Keys"], role["VolumeKey"]):
        assert statement["Resource"] == [resource]
        wanted = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": condition}} if condition else None
        assert statement.get("Condition") == wanted


def test_jobs_in_a_vpc_can_create_network_interfaces(account: Account) -> None:
    assert "Network" not in statements(aws_setup.policies(account.job)["role"])
    role = statements(
        aws_setup.policies({**account.job, "subnets": ["subnet-1"], "security_group_ids": ["sg-1"]})["role"]
    )
    assert "ec2:CreateNetworkInterfacePermission" in role["Network"]["Action"]


def test_output_of_hooks_is_allowed(account: Account) -> None:
    hooks = {
        "DebugHookConfig": {"S3OutputPath": "s3://debug/x"},
        "ProfilerConfig": {"S3OutputPath": "s3://profile/"},
        "TensorBoardOutputConfig": {"S3OutputPath": "s3://boards"},
        "DebugRuleConfigurations": [
            {"RuleConfigurationName": "r", "RuleEvaluatorImage": "i", "S3OutputPath": "s3://rules/y"}
        ],
    }
    role = statements(aws_setup.policies({**account.job, "request": hooks})["role"])
    assert role["Hooks"]["Resource"] == [
        f"arn:aws:s3:::{place}/*" for place in ("debug/x", "profile", "boards", "rules/y")
    ]


def test_remote_shells_and_registries_are_allowed_when_requested(account: Account) -> None:
    asked = {"RemoteDebug", "Registry"}
    assert not asked & statements(aws_setup.policies(account.job)["role"]).keys()
    function = "arn:aws:lambda:us-east-1:123456789012:function:login"
    job = {"enable_remote_debug": True, "training_repository_credentials_provider_arn": function}
    image = {"AlgorithmSpecification": {"TrainingImageConfig": {"TrainingRepositoryAccessMode": "Vpc"}}}
    role = statements(aws_setup.policies({**account.job, **job, "request": image})["role"])
    assert role["Registry"]["Action"] == ["lambda:InvokeFunction"]
    assert role["Registry"]["Resource"] == [function]
    assert set(role["RemoteDebug"]["Action"]) == {
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    }


def test_agent_role_is_used_for_the_agent_job(account: Account) -> None:
    job = {
        "subnets": ["subnet-1"],
        "security_group_ids": ["sg-1"],
        "volume_kms_key": "alias/volume",
        "agent": {"role": "arn:aws:iam::123456789012:role/agent"},
        "checkpoint_s3_uri": "s3://elsewhere/c",
    }
    agent = statements(aws_setup.policies({**account.job, **job})["agent"])
    assert agent["Write"]["Resource"] == [f"arn:aws:s3:::{account.bucket}/out/*"]
    assert agent["List"]["Resource"] == [f"arn:aws:s3:::{account.bucket}"]
    assert agent["VolumeKey"]["Action"] == ["kms:CreateGrant"]
    assert "ec2:CreateNetworkInterface" in agent["Network"]["Action"]


@pytest.mark.parametrize("name", ["launcher", "role", "agent"])
def test_statement_ids_are_unique(account: Account, name: str) -> None:
    sids = [
        statement["Sid"]
        for statement in aws_setup.policies({**account.job, "checkpoint_s3_uri": "s3://c"})[name]["Statement"]
    ]
    assert len(sids) == len(set(sids))


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eu-west-1", "aws"),
    ],
)
def test_partition_follows_the_region_without_a_role(
    monkeypatch: pytest.MonkeyPatch, region: str, partition: str
) -> None:
    monkeypatch.setenv("AWS_REGION", region)
    (jobs,) = statements(aws_setup.policies()["launcher"])["Jobs"]["Resource"]
    assert jobs == f"arn:{partition}:sagemaker:{region}:*:training-job/smsweep-*"


def test_policies_allow_no_secrets_when_none_are_used() -> None:
    found = aws_setup.policies()
    assert not {
        a for name in found for a in actions(found[name]) if a.startswith(("kms:", "secretsmanager:", "ssm:"))
    }


def test_launcher_policy_matches_recorded_calls(
    account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sqs = account.client("sqs")
    queue = sqs.create_queue(QueueName=account.bucket)["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="an event of another kind")
    monkeypatch.setenv("SMSWEEP_SAGEMAKER_EVENTS", queue)
    (account.folder / "train.py").write_text(
        "import smsweep, os, time\n"
        "x = smsweep.init().config['x']\n"
        "smsweep.log({'loss': -x})\n"
        "open(os.environ['SM_MODEL_DIR'] + '/m', 'w').write('m')\n"
        "time.sleep(x * 10)\n"
    )
    account.emulator.faults.set({"lose_response": [{"action": "CreateTrainingJob"}]})
    job = {"keep_alive_period_in_seconds": 600, "stop_if": "loss < -1", "price_per_hour": "aws"}
    account.run(3, job=job, parallel=3)
    model_download.download_model(account.trials()[0].sweep_id, 0, tmp_path / "model")
    allowed = actions(aws_setup.policies({**account.job, **job})["launcher"])
    assert called(account) == allowed - IMPLIED - DETACHED - DOCTOR
