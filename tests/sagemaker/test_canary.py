"""Known secrets are in no output of a complete run."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from smsweep.cli.main import main
from smsweep.services import aws_setup
from smsweep.web.server import serving
from tests.sagemaker.conftest import Account
from tests.support.walkthrough import SMSWEEP
from tests.unit.web.conftest import Client

# Prints its key in every output of a script; one trial fails with it.
TELLS = """
import os, sys, smsweep
run = smsweep.init()
key = os.environ["WANDB_API_KEY"]
run.summary["key"] = key
smsweep.log({"loss": run.config["x"], "length": len(key), "told": "it is " + key})
print("my key is", key, flush=True)
print("and once more", key, file=sys.stderr)
if run.config["x"] == 1:
    raise ValueError("cannot log in with " + key)
"""


def canary(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()


SECRETS = {name: canary(name) for name in ("wandb", "database", "webhook", "ui", "index", "dotenv")}

SETTINGS = {
    "DATABASE_PASSWORD": SECRETS["database"],
    "SMSWEEP_NOTIFY": f"http://127.0.0.1:9/hook/{SECRETS['webhook']}",
    "SMSWEEP_UI_TOKEN": SECRETS["ui"],
    "PIP_INDEX_URL": f"https://me:{SECRETS['index']}@127.0.0.1:9/simple",
}


class Finder:
    """Searches output for the secrets."""

    def __init__(
        self, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.n_bytes = 0
        self._secrets = secrets
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def check(self, where: str, content: bytes) -> None:
        self.n_bytes += len(content)
        found = [name for name, secret in self._secrets.items() if secret.encode() in content]
        assert not found, f"{where} holds the secret of {', '.join(found)}"

    def run(self, *words: str) -> None:
        """Run a sweep in a process with verbose output."""
        argv = [*SMSWEEP, "-vv", "run", "sweep.yaml", "--parallel", "2", *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
        self.check(" ".join(words), (done.stdout + done.stderr).encode())

    def look(self, *words: str) -> str:
        """Call a command in this process, check its output, and return the output."""
        self._monkeypatch.setattr(sys, "argv", ["smsweep", *words])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        output = self._capsys.readouterr()
        assert ended.value.code == 0 or words == ("doctor",), output.err
        self.check(" ".join(words), (output.out + output.err).encode())
        return output.out

    def check_files(self, folder: Path) -> None:
        for file in folder.rglob("*"):
            if file.is_file() and not file.is_symlink():
                self.check(str(file), file.read_bytes())


@pytest.mark.parametrize("account", [pytest.param("docker", marks=pytest.mark.docker)], indirect=True)
def test_secrets_are_in_no_output(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    secrets = {**SECRETS, "aws": account.emulator.secret_access_key, "endpoint": account.emulator.token}
    finder = Finder(secrets, monkeypatch, capsys)
    monkeypatch.setenv("WANDB_API_KEY", SECRETS["wandb"])
    arn = aws_setup.auth().arn
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    dotenv = account.folder / ".env"
    dotenv.write_text(f"TOKEN={SECRETS['dotenv']}\n")
    (account.folder / "train.py").write_text(TELLS)
    (account.folder / "sweep.yaml").write_text(json.dumps(account.sweep(2)))
    local = {"image_uri": account.job["image_uri"], "secrets": {"WANDB_API_KEY": "env:WANDB_API_KEY"}}
    (account.folder / "local.yaml").write_text(json.dumps(local))
    (account.folder / "job.yaml").write_text(json.dumps({**account.job, "secrets": {"WANDB_API_KEY": arn}}))

    finder.run("--job", "local.yaml", "--backend", "docker")
    monkeypatch.delenv("WANDB_API_KEY")  # from here on, only Secrets Manager has it
    monkeypatch.delenv("SMSWEEP_NOTIFY")  # no server listens at this URL, which delays the command
    finder.run("--job", "job.yaml", "--backend", "sagemaker")
    for sweep in json.loads(finder.look("ls", "--json")):
        look_at(finder, sweep["id"])

    dotenv.unlink()  # the user's file, and the only one that may contain a secret
    finder.check_files(tmp_path)
    for key, body in account.objects().items():
        finder.check(key, body)
    for entry in account.emulator.ledger.read():
        finder.check("the ledger", json.dumps(entry, default=str).encode())
    assert finder.n_bytes > 1_000_000


def look_at(finder: Finder, sweep_id: str) -> None:
    """Request all output about a sweep: commands, files and pages."""
    failed = next(t["number"] for t in json.loads(finder.look("trials", sweep_id, "--json")) if t["params"]["x"])
    assert "cannot log in with ***" in finder.look("show", f"{sweep_id}/{failed}", "--json")
    assert "my key is ***" in finder.look("logs", f"{sweep_id}/{failed}", "--raw")
    for words in (
        ("show", sweep_id, "--json"),
        ("why", f"{sweep_id}/{failed}", "--json"),
        ("best", sweep_id, "--json"),
        ("diff", f"{sweep_id}/0", f"{sweep_id}/1", "--json"),
        ("report", sweep_id, "--output", f"{sweep_id}.html"),
        ("export", sweep_id, "--output", f"{sweep_id}.csv"),
        ("export", sweep_id, "--format", "json", "--output", f"{sweep_id}.json"),
        ("iam", "--job", "job.yaml"),
        ("doctor",),
    ):
        finder.look(*words)
    with serving() as served:
        client = Client(served=served, usual={"Authorization": f"Bearer {served.token}"})
        one = f"/api/sweeps/{sweep_id}"
        trial = f"{one}/trials/{failed}"
        for path in ("/", "/api/sweeps", one, f"{one}/texts", trial, f"{trial}/why", f"{trial}/log"):
            answer = client.get(path)
            assert answer.status == 200, path
            finder.check(path, answer.text.encode() + str(answer.headers).encode())
