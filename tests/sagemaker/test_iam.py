"""The policies that `smsweep iam` prints allow what is called, and nothing else."""

from __future__ import annotations

from typing import Any

from smsweep.sdk import iam
from tests.sagemaker.conftest import Account

IMPLIED = {"sagemaker:AddTags", "iam:PassRole"}  # checked by AWS inside CreateTrainingJob, never called
S3_ACTIONS = {"HEAD": "s3:GetObject", "GET": "s3:GetObject", "PUT": "s3:PutObject"}


def actions(policy: dict[str, Any]) -> set[str]:
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def called(account: Account) -> set[str]:
    """Return what the launcher was seen to call, in IAM's words."""
    found = set()
    for entry in account.endpoint.ledger.read():
        method, _, path = entry["action"].partition(" ")
        if entry["service"] in ("sagemaker", "logs"):
            found.add(f"{entry['service']}:{method}")
        elif path.count("/") > 1 and "list-type" not in path:  # an object, not a bucket
            found.add(S3_ACTIONS[method])
    return found


def test_policies_name_the_templates_own_resources(account: Account) -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:smsweep/wandb-AbCdEf"
    found = iam.policies({**account.job, "secrets": {"WANDB_API_KEY": f"{arn}#key"}})
    launcher = {statement["Sid"]: statement for statement in found["launcher"]["Statement"]}
    role = {statement["Sid"]: statement for statement in found["role"]["Statement"]}
    assert launcher["JobRole"]["Resource"] == [account.job["role"]]
    assert launcher["Jobs"]["Resource"] == ["arn:aws:sagemaker:us-east-1:123456789012:training-job/smsweep-*"]
    assert launcher["Source"]["Resource"] == [f"arn:aws:s3:::{account.bucket}/smsweep/assets/*"]
    assert role["Secrets"]["Resource"] == [arn]
    assert role["Write"]["Resource"] == [f"arn:aws:s3:::{account.bucket}/out/*"]


def test_without_secrets_and_keys_nobody_may_read_any() -> None:
    found = iam.policies()
    assert not {
        a for name in found for a in actions(found[name]) if a.startswith(("kms:", "secretsmanager:", "ssm:"))
    }
