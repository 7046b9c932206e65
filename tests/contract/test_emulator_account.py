"""Roles of the emulator's account, and the lifetime of the account."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.support.account import BUCKET, Account, open_account
from tools.environments import ROOT


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with open_account(tmp_path_factory.mktemp("endpoint"), os.environ) as opened:
        yield opened


def test_any_role_has_all_permissions(account: Account) -> None:
    answer = account.client("iam").simulate_principal_policy(
        PolicySourceArn="arn:aws:iam::123456789012:role/any", ActionNames=["s3:GetObject", "logs:PutLogEvents"]
    )
    decisions = {found["EvalActionName"]: found["EvalDecision"] for found in answer["EvaluationResults"]}
    assert decisions == {"s3:GetObject": "allowed", "logs:PutLogEvents": "allowed"}


def test_any_role_exists_and_trusts_sagemaker(account: Account) -> None:
    role = account.client("iam").get_role(RoleName="nobody-made-it")["Role"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}


def test_created_role_is_not_changed(account: Account) -> None:
    iam = account.client("iam")
    iam.create_role(RoleName="own", AssumeRolePolicyDocument='{"Statement": []}', Description="mine")
    assert iam.get_role(RoleName="own")["Role"]["Description"] == "mine"


def test_account_is_reset_when_the_last_emulator_stops(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from tests.support.account import open_account\n"
        "for name in ('first', 'second'):\n"
        "    with open_account(Path(sys.argv[1]) / name, os.environ) as account:\n"
        "        print(len(account.client('s3').list_buckets()['Buckets']))\n"
        "        account.client('s3').create_bucket(Bucket=name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["0", "0"], done.stderr


def test_s3_refuses_a_write_for_a_bucket_of_another_owner(account: Account) -> None:
    account.s3.put_object(Bucket=BUCKET, Key="a", Body=b"1", ExpectedBucketOwner="123456789012")
    with pytest.raises(ClientError) as refused:
        account.s3.put_object(Bucket=BUCKET, Key="a", Body=b"2", ExpectedBucketOwner="999999999999")
    assert refused.value.response["Error"]["Code"] == "AccessDenied"
    assert account.s3.get_object(Bucket=BUCKET, Key="a")["Body"].read() == b"1"
