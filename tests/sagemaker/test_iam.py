"""The policies that `smsweep iam` prints allow what is called, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smsweep.sdk import iam, results
from tests.sagemaker.conftest import Account

IMPLIED = {"sagemaker:AddTags", "iam:PassRole"}  # checked by AWS inside CreateTrainingJob, never called
DETACHED = {"s3:DeleteObject", "s3:ListBucket"}  # see test_detached.py
QUEUE_ACTIONS = {"ReceiveMessage": "sqs:ReceiveMessage", "DeleteMessageBatch": "sqs:DeleteMessage"}
S3_ACTIONS = {"HEAD": "s3:GetObject", "GET": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject"}


def actions(policy: dict[str, Any]) -> set[str]:
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def called(account: Account) -> set[str]:
    """Return what the launcher was seen to call, in IAM's words."""
    found = set()
    for entry in account.endpoint.ledger.read():
        method, _, path = entry["action"].partition(" ")
        if entry["service"] in ("sagemaker", "logs", "pricing"):
            found.add(f"{entry['service']}:{method}")
        elif entry["service"] == "sqs":
            found.add(QUEUE_ACTIONS.get(method, ""))
        elif path.count("/") > 1 and "list-type" not in path:  # an object, not a bucket
            found.add(S3_ACTIONS[method])
    return found - {""}


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


def test_the_launchers_policy_is_what_the_launcher_was_seen_to_call(
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
    account.endpoint.faults.set({"lose_response": [{"action": "CreateTrainingJob"}]})
    job = {"keep_alive_period_in_seconds": 600, "stop_if": "loss < -1", "price_per_hour": "aws"}
    account.run(3, job=job, parallel=3)
    results.download_model(account.trials()[0].sweep_id, 0, tmp_path / "model")
    allowed = actions(iam.policies({**account.job, **job})["launcher"])
    assert called(account) == allowed - IMPLIED - DETACHED
