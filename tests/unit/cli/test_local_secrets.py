"""A secret in the source is a warning for processes of this machine, and an error before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smsweep.errors import SourceError
from smsweep.services.agents import queue
from smsweep.services.workspace import Workspace
from tests.unit.cli.conftest import TRAIN, Cli

pytestmark = pytest.mark.slow

SECRET = "xK9mQ2vR7tL4wZ8pB3nJ6yHd"  # smsweep: allow-secret
LINE = f'\nservice_token = "{SECRET}"\n'
FOUND = "train.py:12: service_token = ***: looks like a secret"


@pytest.fixture
def leaky(folder: Path) -> Path:
    (folder / "train.py").write_text(TRAIN + LINE)
    (folder / "job.yaml").write_text(
        "role: arn:aws:iam::123456789012:role/r\nimage_uri: i\ninstance_type: ml.m5.large\n"
        "output_path: s3://bucket/out\n"
    )
    return folder


def test_local_sweep_warns_of_a_secret_and_later_uploads_are_refused(
    cli: Cli, leaky: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = cli("run", "sweep.yaml", "--count", "1")
    assert ended.code == 0
    assert FOUND in ended.err
    assert SECRET not in ended.err
    sweep_id = ended.out.strip()
    for backend in ("sagemaker", "batch", "docker"):
        for command in ("agent", "plan"):
            refused = cli(
                command, sweep_id, "--backend", backend, *["--job", "job.yaml"][: 2 * (command == "agent")]
            )
            assert refused.code == 2, (command, backend)
            assert "only processes of this machine can run it" in refused.err
            assert FOUND in refused.err
            assert SECRET not in refused.err
    for detach in ("--detach-to=sagemaker", "--detach-to=s3"):
        refused = cli("agent", sweep_id, "--backend", "sagemaker", detach)
        assert "only processes of this machine can run it" in refused.err
    refused = cli("reproduce", f"{sweep_id}/0", "--backend", "sagemaker")
    assert "only processes of this machine can run it" in refused.err
    source_hash = next((leaky / ".smsweep/bundles").glob("*.tar.gz")).name.partition(".")[0]
    with pytest.raises(SourceError, match="only processes of this machine"):
        queue._upload(None, Workspace(), source_hash, "s3://bucket/prefix")
    # Nothing that users share shows the secret.
    (leaky / "train.py").write_text(TRAIN + LINE.replace("xK9", "aB3"))
    assert len(json.loads(cli("ls", "--json").out)) == 1
    other = cli("run", "sweep.yaml", "--count", "1").out.strip()
    shown = (
        cli("diff", f"{sweep_id}/0", f"{other}/0", "--json").out + cli("export", sweep_id, "--format", "json").out
    )
    assert SECRET[3:] not in shown


@pytest.mark.parametrize("backend", ["sagemaker", "docker", "batch"])
def test_sweep_for_other_backends_is_refused_for_a_secret(
    cli: Cli, leaky: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setenv("SMSWEEP_BACKEND", backend)
    refused = cli("sweep", "sweep.yaml", "--job", "job.yaml")
    assert refused.code == 2
    assert FOUND in refused.err
    assert not (leaky / ".smsweep").exists()


def test_secret_in_a_config_is_always_refused(cli: Cli, leaky: Path) -> None:
    (leaky / "train.py").write_text(TRAIN)
    with (leaky / "sweep.yaml").open("a") as config:
        config.write(f"  token: {{value: {SECRET}}}\n")
    refused = cli("run", "sweep.yaml")
    assert refused.code == 2
    assert "sweep config:" in refused.err
    assert not (leaky / ".smsweep").exists()
