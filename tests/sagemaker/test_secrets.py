"""Secrets are stored in AWS, and only the job reads them."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import pytest

from smsweep.core.trial import TrialState
from smsweep.errors import ConfigError, JobRejected, NotFound, SourceError
from smsweep.secrets.redact import find_wandb_key
from smsweep.services import aws_setup as sdk_auth
from smsweep.services.workspace import Workspace
from tests.sagemaker.conftest import Account

CANARY = hashlib.sha1(b"canary").hexdigest()  # forty hexadecimal digits, like a W&B key
TELLS = """
import hashlib, os, smsweep
smsweep.init()
key = os.environ.get("WANDB_API_KEY", "")
smsweep.log({"loss": len(key)})
print("digest", hashlib.sha256(key.encode()).hexdigest()[:8])
"""


def test_wandb_key_reaches_the_script_only(
    account: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG, logger="smsweep")
    monkeypatch.setenv("WANDB_API_KEY", CANARY)
    (account.folder / ".env").write_text(f"WANDB_API_KEY={CANARY}\n")
    (account.folder / "secrets.env").write_text(f"WANDB_API_KEY={CANARY}\n")
    (account.folder / "train.py").write_text(TELLS)
    stored = sdk_auth.auth()
    monkeypatch.delenv("WANDB_API_KEY")
    outcome = account.run(2, job={"secrets": {"WANDB_API_KEY": stored.arn}})
    assert outcome.ended == {TrialState.FINISHED: 2}
    assert [trial.metrics["loss"].last for trial in account.trials()] == [40, 40]

    needle = CANARY.encode()
    assert all(needle not in body for body in account.objects().values())
    ours = [file for file in Workspace().dir.rglob("*") if file.is_file()]
    theirs = [file for file in (tmp_path / "emulator").rglob("*") if file.is_file()]
    assert len(ours) > 3
    assert len(theirs) > 3
    assert [file for file in (*ours, *theirs) if needle in file.read_bytes()] == []
    assert CANARY not in caplog.text


@pytest.mark.parametrize("ssm", [False, True])
def test_stored_secret_can_be_replaced(
    account: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, ssm: bool
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", CANARY[:30])
    first = sdk_auth.auth(ssm=ssm)
    assert "WANDB_API_KEY: wandb does not accept this key" in caplog.text
    caplog.clear()
    monkeypatch.setenv("WANDB_API_KEY", CANARY)
    assert sdk_auth.auth(ssm=ssm).arn == first.arn
    assert "does not accept this key" not in caplog.text
    (account.folder / "train.py").write_text(TELLS)
    account.run(1, job={"secrets": {"WANDB_API_KEY": first.arn}})
    assert account.trials()[0].metrics["loss"].last == 40


@pytest.mark.parametrize(
    ("stored", "key", "length"),
    [
        ({"SecretBinary": b"a key that is a file"}, "", 20),
        ({"SecretString": '{"nested": {"a": true}}'}, "#nested", len('{"a": true}')),
    ],
)
def test_secret_can_be_a_file_or_a_json_field(
    account: Account, stored: dict[str, Any], key: str, length: int
) -> None:
    arn = account.client("secretsmanager").create_secret(Name="odd", **stored)["ARN"]
    (account.folder / "train.py").write_text(TELLS)
    account.run(1, job={"secrets": {"WANDB_API_KEY": f"{arn}{key}"}})
    assert account.trials()[0].metrics["loss"].last == length


def test_unreadable_secret_fails_the_trial_with_its_arn(account: Account) -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nowhere-AbCdEf"
    account.run(1, job={"secrets": {"TOKEN": arn}})
    (trial,) = account.trials()
    assert trial.state is TrialState.FAILED
    assert f"secret TOKEN: {arn} cannot be read" in trial.reason


def test_local_variable_is_rejected_with_the_fix(account: Account) -> None:
    with pytest.raises(JobRejected, match="store its value in Secrets Manager with `smsweep auth`"):
        account.run(1, job={"secrets": {"TOKEN": "env:TOKEN"}})
    assert account.created() == {}


def test_key_in_the_source_stops_the_launch(account: Account) -> None:
    (account.folder / "train.py").write_text(f'import wandb\nwandb.login(key="{CANARY}")\n')
    with pytest.raises(SourceError, match=r"train\.py:2") as caught:
        account.run(1)
    assert CANARY not in str(caught.value)
    assert account.objects() == {}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (".netrc", f"machine api.wandb.ai login user password {CANARY}\n"),
        ("_netrc", f"machine api.wandb.ai\n  login user\n  password {CANARY}\n"),
        (".config/wandb/settings", f"[default]\napi_key = {CANARY}\n"),
    ],
)
def test_wandb_key_is_read_from_the_files_of_wandb(tmp_path: Path, file: str, text: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    found = find_wandb_key({"HOME": str(tmp_path)})
    assert found is not None
    assert found.value == CANARY


def test_unreadable_file_has_no_wandb_key(tmp_path: Path) -> None:
    (tmp_path / ".netrc").mkdir()  # root can read any file, but a folder cannot be read as a file
    (tmp_path / "_netrc").write_text(f"machine api.wandb.ai login user password {CANARY}\n")
    (tmp_path / "_netrc").chmod(0o600)
    found = find_wandb_key({"HOME": str(tmp_path)})
    assert found is not None
    assert found.value == CANARY


def test_invalid_wandb_settings_are_reported(tmp_path: Path) -> None:
    (tmp_path / "settings").write_bytes(b"\xff\xfe\0")
    with pytest.raises(ConfigError, match="settings: not a valid settings file of wandb"):
        find_wandb_key({"HOME": str(tmp_path), "WANDB_CONFIG_DIR": str(tmp_path)})


def test_wandb_key_depends_on_the_server(tmp_path: Path) -> None:
    keys = {"api.wandb.ai": CANARY[::-1], "wandb.example.com": CANARY}
    lines = [f"machine {host} login user password {key}" for host, key in keys.items()]
    (tmp_path / ".netrc").write_text("\n".join(lines))
    (tmp_path / ".netrc").chmod(0o600)
    environ = {"HOME": str(tmp_path), "WANDB_BASE_URL": "https://wandb.example.com"}
    found = find_wandb_key(environ)
    assert found is not None
    assert found.value == CANARY


def test_missing_wandb_key_is_reported_with_the_fix(account: Account) -> None:
    with pytest.raises(NotFound, match="run `wandb login`"):
        sdk_auth.auth()


def test_secrets_env_is_sent_only_on_request_with_a_warning(
    account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    (account.folder / "train.py").write_text(TELLS)
    (account.folder / "secrets.env").write_text(f"WANDB_API_KEY={CANARY}\n")
    account.run(1, job={"secrets_env": True})
    assert account.trials()[0].metrics["loss"].last == 40
    assert "everyone who can read the source can read its keys" in caplog.text
