"""Tests of `tracking` in job.yaml."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from smsweep.config_files.job_yaml import parse_job
from smsweep.errors import ConfigError
from smsweep.services.sweeps.load import check_tracking

ARN = "arn:aws:sagemaker:eu-west-1:123456789012"


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:5000",
        "https://mlflow.example.org/path",
        "sqlite:////data/mlflow.db",
        f"{ARN}:mlflow-tracking-server/team",
        f"{ARN}:mlflow-app/app-0123",
    ],
)
def test_uri_of_a_server_is_read(uri: str) -> None:
    assert parse_job({"tracking": {"mlflow": uri}}).template.tracking == {"mlflow": uri}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("runs", "tracking.mlflow: expected http://..., https://..., sqlite:////PATH, or the ARN"),
        ("file:///runs", "tracking.mlflow: expected http://"),
        ("databricks", "tracking.mlflow: expected http://"),
        ("sqlite:///runs.db", "tracking.mlflow: expected http://"),
        ("https://host?key=hidden-4711", "tracking.mlflow: has a query or a fragment"),
        (f"{ARN}:training-job/x", "tracking.mlflow: expected http://"),
        (f"{ARN}:mlflow-app/x/y", "tracking.mlflow: expected http://"),
        ("https://me:hidden-4711@host", "tracking.mlflow: has a user or a password; set MLFLOW_TRACKING_USERNAME"),
        (3, "tracking.mlflow: "),
    ],
)
def test_other_values_are_refused_without_their_password(value: object, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_job({"tracking": {"mlflow": value}})
    assert message in str(raised.value)
    assert "hidden-4711" not in str(raised.value)


@pytest.mark.skipif(find_spec("mlflow") is not None, reason="MLflow is installed")
@pytest.mark.parametrize(
    ("uri", "extra"), [("http://h", "mlflow"), (f"{ARN}:mlflow-app/x", "sagemaker-mlflow")], ids=("url", "arn")
)
def test_missing_package_is_an_error(uri: str, extra: str) -> None:
    with pytest.raises(ConfigError, match=rf"tracking\.mlflow: .* pip install 'smsweep\[{extra}\]'"):
        check_tracking(parse_job({"tracking": {"mlflow": uri}}).template)
