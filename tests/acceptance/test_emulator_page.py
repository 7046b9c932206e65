"""The examples of docs/emulator.md work as shown, and `smsweep emulator` reports errors."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from smsweep.emulator.faults import Faults, parse
from tests.support.markdown import ROOT, Block, blocks
from tests.support.walkthrough import NEW_PYTHON, environment

PAGE = ROOT / "docs" / "emulator.md"


def only(language: str) -> Block:
    (found,) = [block for block in blocks(PAGE) if block.language == language]
    return found


def test_docs_example_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", only("python").text],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == ["[]", "ListTrainingJobs"]


def test_faults_document_is_valid_and_complete() -> None:
    shown = json.loads(only("json").text)
    parse(shown)
    assert shown.keys() == Faults.model_fields.keys()


def test_fault_table_lists_every_fault() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in Faults.model_fields if f"\n| `{name}` |" not in text] == []


LIST_JOBS = "import boto3; print(boto3.client('sagemaker').list_training_jobs()['TrainingJobSummaries'])"


def test_command_prints_json_for_programs_and_ends_on_sigterm(tmp_path: Path) -> None:
    command = [*NEW_PYTHON, "emulator", "--port", "0", "--json", "--dir", str(tmp_path)]
    served = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        assert served.stdout is not None
        output = json.loads(served.stdout.readline())
        listed = subprocess.run(
            [sys.executable, "-c", LIST_JOBS],
            env={**os.environ, **output["environ"]},
            capture_output=True,
            text=True,
        )
        served.send_signal(signal.SIGTERM)
        _, talk = served.communicate(timeout=30)
    finally:
        served.kill()
        served.communicate()
    assert served.returncode == 0
    assert listed.stdout == "[]\n", listed.stderr
    assert output["environ"] == {
        "AWS_ENDPOINT_URL": output["url"],
        "AWS_ACCESS_KEY_ID": output["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": output["secret_access_key"],
        "AWS_REGION": output["region"],
        "AWS_DEFAULT_REGION": output["region"],
    }
    assert output["token"] in talk
    assert output["secret_access_key"] not in talk


def test_printed_lines_configure_shell(tmp_path: Path) -> None:
    """Runs the script of the page with a free port. The shell has settings of another AWS account."""
    (block,) = [block for block in blocks(PAGE) if "mktemp" in block.text]
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[profile production]\nregion = eu-west-1\n")
    script = f"""trap 'kill $(jobs -p) || true' EXIT
{block.text.replace("smsweep emulator", "smsweep emulator --port 0")}
stat -c %a $settings
python -c "{LIST_JOBS}; import os; print(sorted(set(os.environ) & {{'AWS_PROFILE', 'AWS_SESSION_TOKEN'}}))"
rm $settings
"""
    own = {"AWS_PROFILE": "production", "AWS_SESSION_TOKEN": "session", "AWS_ACCESS_KEY_ID": "AKIA"}
    done = subprocess.run(
        ["bash", "-euc", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**environment(tmp_path), **own},
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, ["600", "[]", "[]"]), done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--backend", "sagemaker"], "no backend 'sagemaker' behind the emulator"),
        (["--faults", '{"quotas": 1}'], "faults: quotas"),
        (["--faults", "- 1"], "No such file"),
    ],
)
def test_command_reports_unsupported_arguments(tmp_path: Path, options: list[str], words: str) -> None:
    command = [*NEW_PYTHON, "emulator", "--port", "0", *options]
    environ = {**os.environ, "SMSWEEP_DIR": str(tmp_path)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=60, check=False
    )
    assert done.returncode != 0
    assert words in done.stderr


def test_port_in_use_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "smsweep.cli.main",
            "emulator",
            "--port",
            str(port),
            "--dir",
            str(tmp_path),
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 2
    assert f"127.0.0.1:{port}: Address already in use" in done.stderr
    assert "use another --port" in done.stderr
