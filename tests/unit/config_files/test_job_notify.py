"""Tests of `notify` in job.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsweep.config_files.job_yaml import parse_job
from smsweep.core.job import Hook
from smsweep.errors import ConfigError, SourceError, UsageError
from smsweep.notify.hooks import parse_hook
from smsweep.services.sweeps.create import sweep

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:hook-AbCdEf"


@pytest.mark.parametrize(
    ("text", "hooks"),
    [
        ("notify: env:HOOK", [Hook(url="env:HOOK")]),
        ("notify: [env:HOOK, 'https://ci/x']", [Hook(url="env:HOOK"), Hook(url="https://ci/x")]),
        ("notify: {command: [a, b]}", [Hook(command=("a", "b"))]),
        (f"notify: {{url: '{ARN}', events: end}}", [Hook(url=ARN, events=("end",))]),
        ("notify: {url: http://h/x, headers: {X: y}}", [Hook(url="http://h/x", headers={"X": "y"})]),
    ],
)
def test_hooks_are_parsed(text: str, hooks: list[Hook]) -> None:
    assert list(parse_job(text).template.notify) == hooks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("notify: ftp://host/x", "notify[0].url: not a webhook"),
        ("notify: {command: rm -rf x}", "command"),
        ("notify: {command: []}", "command"),
        ("notify: {url: env:A, command: [a]}", "needs exactly one of url and command"),
        ("notify: {events: end}", "needs exactly one of url and command"),
        ("notify: {url: env:A, events: [start]}", "events"),
        ("notify: {url: env:A, headers: {Authorization: Bearer 123}}", "give a reference to it"),
        ("notify: {command: [a], headers: {X: y}}", "works only with url"),
        ("notify: {url: http://h, headers: {X: env:AWS_SESSION_TOKEN}}", "is a variable of AWS"),
    ],
)
def test_invalid_hook_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_job(text)
    assert message in str(refused.value)
    assert "123" not in str(refused.value)


def test_slack_webhook_in_config_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    address = "https://hooks.slack.com/services/" + "T0ABCDEF12/B0ABCDEF12/aZ3kQ9xT7mLp2VbN8rWc4YdH"
    (tmp_path / "train.py").touch()
    config = {"program": "train.py", "method": "grid", "parameters": {"a": {"value": 1}}}
    with pytest.raises(SourceError, match="Slack webhook"):
        sweep(config, job={"notify": address})


@pytest.mark.parametrize("text", ["", "ftp://x", "'open"])
def test_empty_notify_option_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--notify"):
        parse_hook(text)


def test_equal_hooks_have_equal_digests() -> None:
    assert parse_hook("env:HOOK").key == Hook(url="env:HOOK", events=("end",)).key
    assert parse_hook("a 'b c'") == Hook(command=("a", "b c"))
    assert "k3y" not in Hook(url="https://host/k3y").key
