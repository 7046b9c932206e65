"""What docs/endpoint.md shows is so, and `smsweep endpoint` keeps its word."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from smsweep.endpoint.faults import Faults, parse
from tests.markdown import ROOT, Block, blocks

PAGE = ROOT / "docs" / "endpoint.md"


def only(language: str) -> Block:
    (found,) = [block for block in blocks(PAGE) if block.language == language]
    return found


def test_the_example_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", only("python").text],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == ["[]", "ListTrainingJobs"]


def test_the_faults_document_is_read_and_complete() -> None:
    shown = json.loads(only("json").text)
    parse(shown)
    assert shown.keys() == Faults.model_fields.keys()


def test_the_table_explains_every_fault() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in Faults.model_fields if f"\n| `{name}` |" not in text] == []


def test_the_command_says_where_it_is_and_ends_when_told(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "smsweep.cli.main",
        "endpoint",
        "--port",
        "0",
        "--json",
        "--dir",
        str(tmp_path),
    ]
    served = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        assert served.stdout is not None
        said = json.loads(served.stdout.readline())
        with urlopen(said["url"], timeout=10) as answer:
            assert answer.status == 200
        served.send_signal(signal.SIGTERM)
        _, talk = served.communicate(timeout=30)
    finally:
        served.kill()
        served.communicate()
    assert served.returncode == 0
    assert f"export AWS_ENDPOINT_URL={said['url']}" in talk


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--backend", "sagemaker"], "no backend 'sagemaker' behind an endpoint"),
        (["--faults", '{"quotas": 1}'], "faults: quotas"),
        (["--faults", "- 1"], "No such file"),
    ],
)
def test_the_command_explains_what_it_cannot_do(tmp_path: Path, options: list[str], words: str) -> None:
    command = [sys.executable, "-m", "smsweep.cli.main", "endpoint", "--port", "0", *options]
    environ = {**os.environ, "SMSWEEP_DIR": str(tmp_path)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=60, check=False
    )
    assert done.returncode != 0
    assert words in done.stderr


def test_a_port_that_is_taken_is_said_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "smsweep.cli.main",
            "endpoint",
            "--port",
            str(port),
            "--dir",
            str(tmp_path),
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 2
    assert f"127.0.0.1:{port}: Address already in use" in done.stderr
    assert "give another --port" in done.stderr
