"""The way to AWS where a machine is not set up for it: each thing that is missing is named, with its cure."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.exceptions import UnauthorizedSSOTokenError

from smsweep.backends.sagemaker.client import Aws
from smsweep.backends.sagemaker.failures import translate
from smsweep.errors import BadCredentials, UsageError


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_region_there_is_none() -> None:
    assert Aws({}).region == ""


def test_a_profile_that_is_not_there_is_named() -> None:
    with pytest.raises(BadCredentials, match=r"profile \(nope\) could not be found; refresh them"):
        _ = Aws({"AWS_PROFILE": "nope"}).region


def test_no_credentials_are_told_with_the_cure() -> None:
    with pytest.raises(BadCredentials, match="Unable to locate credentials; refresh them"):
        Aws({"AWS_REGION": "eu-west-1"}).translated("sagemaker", "list_training_jobs")


def test_an_endpoint_that_is_no_url_is_told() -> None:
    environ = {"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "localhost:8471"}
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL: Invalid endpoint: localhost:8471; expected a URL"):
        Aws(environ).translated("sagemaker", "list_training_jobs")


def test_an_expired_single_sign_on_is_a_matter_of_credentials() -> None:
    assert isinstance(translate(UnauthorizedSSOTokenError(), "sagemaker:CreateTrainingJob"), BadCredentials)


@pytest.mark.parametrize(
    ("minutes", "said"), [(-30, "is 30 minutes ahead of AWS's"), (90, "is 90 minutes behind AWS's")]
)
def test_a_clock_that_is_wrong_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, minutes: int, said: str
) -> None:
    date = format_datetime(datetime.now(timezone.utc) + timedelta(minutes=minutes))
    answer = {"ResponseMetadata": {"HTTPHeaders": {"date": date}}}
    client = SimpleNamespace(list_training_jobs=lambda: answer)
    monkeypatch.setattr(Aws, "_client", lambda self, service: client)
    aws = Aws({})
    for _ in range(2):
        aws.call("sagemaker", "list_training_jobs")
    (message,) = caplog.messages
    assert said in message
