"""Functions as the source of a job: what of the calling program is sent."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from smsweep.runtime.job.function_call import ABOUT
from smsweep.source.function import pickle_function

KEY_ID = "AKIA" + "IOSFODNN7EXAMPLF"
PASSWORD = "c4t" + "Xq9!vLm2Zr"


def sent_arguments(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["launch.py", *arguments])
    files = pickle_function(lambda: None).files
    assert not any(secret.encode() in content for secret in (KEY_ID, PASSWORD) for content in files.values())
    found: list[str] = json.loads(files[ABOUT])["argv"]
    return found


def test_arguments_of_the_program_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sent_arguments(monkeypatch, "--epochs", "5") == ["launch.py", "--epochs", "5"]


@pytest.mark.parametrize(
    "arguments",
    [[f"--id={KEY_ID}"], ["--db-password", PASSWORD], [f"--api-key={PASSWORD}", "--epochs=5"], [PASSWORD]],
)
def test_secret_argument_is_not_sent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, arguments: list[str]
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", PASSWORD)
    with caplog.at_level(logging.WARNING):
        assert sent_arguments(monkeypatch, *arguments) == ["launch.py"]
    assert "an argument of the program is a secret" in caplog.text
