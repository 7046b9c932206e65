"""Tests of secrets in an estimator's environment: refused, or replaced by references."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest

from smsweep.config_files.job_yaml import parse_job
from tools.environments import oracle

pytestmark = pytest.mark.oracle

KEY = secrets.token_hex(20)  # format of a W&B key
REFERENCE = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:smsweep/wandb-AbCdEf"
ENVIRONMENTS = {
    "key": {"WANDB_API_KEY": KEY},
    "password": {"DB_PASSWORD": "hunter two"},
    "reference": {"SMSWEEP_SECRET_WANDB_API_KEY": REFERENCE, "MODE": "fast"},
    "no reference": {"SMSWEEP_SECRET_WANDB_API_KEY": KEY},
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "source").mkdir()
    (folder / "source" / "train.py").write_text("")
    question = {
        "home": str(folder / "home"),
        "source_dir": str(folder / "source"),
        "environments": ENVIRONMENTS,
    }
    answers: dict[str, Any] = oracle("sagemaker2").ask(Path(__file__).with_name("ask_secrets.py"), question)
    return answers


@pytest.mark.parametrize("name", ["key", "password", "no reference"])
@pytest.mark.parametrize("when", ["refused", "refused late"])
def test_secret_in_environment_is_refused_and_not_printed(answers: dict[str, Any], name: str, when: str) -> None:
    assert next(iter(ENVIRONMENTS[name])).removeprefix("SMSWEEP_SECRET_") in answers[name][when]
    assert not any(value in answers[name][when] for value in ENVIRONMENTS[name].values())


def test_secret_references_use_job_yaml_syntax(answers: dict[str, Any]) -> None:
    template = parse_job(answers["reference"]["job"]).template
    assert template.secrets == {"WANDB_API_KEY": REFERENCE}
    assert template.request["Environment"] == {"MODE": "fast"}
