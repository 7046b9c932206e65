"""`smsweep doctor` checks the bucket of detached sweeps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smsweep.services.doctor import Finding, examine
from tests.sagemaker.conftest import Account

EXPIRES = {"NoncurrentDays": 1}


def finding(account: Account, **job: Any) -> Finding:
    found = [each for each in examine(job={**account.job, **job}) if "bucket" in each.what]
    assert len(found) == 1
    return found[0]


def add_rule(account: Account, **rule: Any) -> None:
    rules = [{"ID": "one", "Status": "Enabled", "Filter": {"Prefix": ""}, **rule}]
    account.s3.put_bucket_lifecycle_configuration(Bucket=account.bucket, LifecycleConfiguration={"Rules": rules})


def test_versioned_bucket_is_warned_about_until_it_expires_old_versions(account: Account) -> None:
    assert finding(account).is_ok
    account.s3.put_bucket_versioning(Bucket=account.bucket, VersioningConfiguration={"Status": "Enabled"})
    found = finding(account)
    assert (found.is_ok, found.is_required) == (False, False)
    assert found.what == f"lifecycle rule of bucket {account.bucket}"
    assert "keeps each version of a detached sweep's store" in found.found
    assert "expires noncurrent versions below smsweep/agents/" in found.cure
    add_rule(account, NoncurrentVersionExpiration=EXPIRES)
    assert finding(account).is_ok


@pytest.mark.parametrize(
    "rule",
    [
        {"Expiration": {"Days": 1}},
        {"NoncurrentVersionExpiration": EXPIRES, "Status": "Disabled"},
        {"NoncurrentVersionExpiration": EXPIRES, "Filter": {"Prefix": "smsweep/assets/"}},
        {"NoncurrentVersionExpiration": EXPIRES, "Filter": {"Tag": {"Key": "a", "Value": "b"}}},
    ],
    ids=json.dumps,
)
def test_bucket_is_warned_about_when_its_rule_does_not_expire_old_versions(
    account: Account, rule: dict[str, Any]
) -> None:
    account.s3.put_bucket_versioning(Bucket=account.bucket, VersioningConfiguration={"Status": "Enabled"})
    add_rule(account, **rule)
    assert not finding(account).is_ok


def test_unreadable_bucket_is_reported(account: Account) -> None:
    found = finding(account, output_path="s3://no-such-bucket-anywhere/out")
    assert (found.is_ok, found.is_required) == (False, False)
    assert "NoSuchBucket" in found.found
