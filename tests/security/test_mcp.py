"""The MCP server with the client of the package `mcp`, including a client that attacks its limits."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.sagemaker.conftest import ROLE, Account, account  # noqa: F401
from tests.support.working_dir import WorkingDir, grid
from tools.environments import oracle

pytestmark = [pytest.mark.oracle, pytest.mark.slow]

TRAIN = """
import argparse, sys
parser = argparse.ArgumentParser()
parser.add_argument("--a", type=float)
a = parser.parse_known_args()[0].a
import smsweep
if a < 0:
    sys.exit("a is negative")
smsweep.log({"loss": a * a})
"""
PROCESS = ("--backends", "process")
Step = Any


class Server(WorkingDir):
    """A folder in which clients start `smsweep mcp`."""

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, {"train.py": TRAIN, "sweep.yaml": grid(a=[1, 2, 3])})
        self.environ |= environ or {}

    def write(self, **files: Any) -> None:
        """Write JSON files. names: without the suffix .yaml."""
        for name, content in files.items():
            (self.folder / f"{name}.yaml").write_text(json.dumps(content))

    def ask(
        self, *steps: Step, options: Sequence[str] = PROCESS, module: Sequence[str] = ("smsweep.cli.main",)
    ) -> list[dict[str, Any]]:
        """Start a server, do the steps, and return the answers. See ask_mcp.py."""
        question = {
            "folder": str(self.folder),
            "environ": self.environ,
            "options": options,
            "module": module,
            "steps": steps,
        }
        found = oracle("mcp").ask(Path(__file__).with_name("ask_mcp.py"), question)
        answers: list[dict[str, Any]] = found["answers"]
        return answers

    @property
    def log(self) -> list[dict[str, Any]]:
        lines = (self.folder / ".smsweep" / "mcp.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines if line]


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def documents(answers: Sequence[Mapping[str, Any]]) -> list[Any]:
    assert [answer["text"] for answer in answers if answer["is_error"]] == []
    return [json.loads(answer["text"]) for answer in answers]


def errors(answers: Sequence[Mapping[str, Any]]) -> list[str]:
    assert [answer["text"] for answer in answers if not answer["is_error"]] == []
    return [answer["text"] for answer in answers]


def test_client_plans_creates_runs_and_reads_a_sweep(server: Server) -> None:
    answers = server.ask(
        ["plan", {"config": "sweep.yaml", "n": 1}],
        ["create", {"config": "sweep.yaml", "name": "digits", "dry_run": True}],
        ["create", {"config": "sweep.yaml", "name": "digits"}],
        ["run", {"sweep": "digits", "parallel": 2}],
        "wait",
        ["status", {}],
        ["trials", {"sweep": "$sweep", "limit": 2}],
        ["trials", {"sweep": "$sweep", "limit": 2, "cursor": 2}],
        ["best", {"sweep": "$sweep"}],
        ["why", {"trial": "$sweep/1"}],
        ["diff", {"a": "$sweep/0", "b": "$sweep/1"}],
        ["logs", {"trial": "$sweep/0", "cursor": 0}],
        ["report", {"sweep": "$sweep"}],
    )
    plan, tried, created, ran, status, first, second, best, why, diff, logs, report = documents(answers)
    assert plan["trials"] == [
        {"number": 0, "params": {"a": 1}, "argv": ["/usr/bin/env", "python", "train.py", "--a=1"]}
    ]
    assert tried["dry_run"] and "sweep" not in tried
    assert created["reserves"] == {"trials": 3, "usd": 0}
    assert ran["parallel"] == 2
    assert [sweep["name"] for sweep in status["sweeps"]] == ["digits"]
    assert status["limits"]["trials"] == {"allowed": 100, "reserved": 3}
    assert [trial["number"] for trial in first["trials"] + second["trials"]] == [0, 1, 2]
    assert (first["next"], second["next"], second["total"]) == (2, None, 3)
    assert best["best"]["objective"] == 1
    assert why["why"] == "finished without an error"
    assert diff["params"] == [{"name": "a", "a": 1, "b": 2, "delta": 1}]
    assert logs == {"first": 0, "lines": [], "next": 0}
    assert Path(report["file"]).stat().st_size == report["bytes"]


def test_client_reproduces_and_retries_trials_within_the_limits(server: Server) -> None:
    server.write(bad=grid(a=[-1, 2]))
    answers = server.ask(
        ["create", {"config": "bad.yaml"}],
        ["run", {"sweep": "$sweep"}],
        "wait",
        ["reproduce", {"trial": "$sweep/1"}],
        ["retry", {"trials": ["$sweep/0"], "dry_run": True}],
        ["retry", {"trials": ["$sweep/0"]}],
        ["status", {}],
        ["retry", {"trials": ["$sweep/0"]}],
        ["reproduce", {"trial": "$sweep/1"}],
        options=(*PROCESS, "--max-trials", "4"),
    )
    assert [answer["is_error"] for answer in answers] == [False] * 6 + [True] * 2
    assert json.loads(answers[5]["text"])["limits"]["trials"] == {"allowed": 4, "reserved": 4}
    assert all(
        error.startswith("trials: 1 do not fit: 4 of the 4 that the user allows are reserved")
        for error in errors(answers[6:])
    )


def test_files_outside_the_allowed_folders_are_refused(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "allowed"
    folder.mkdir()
    inner = Server(folder)
    for name in ("%2e%2e", "%252e%252e"):
        (folder / name).mkdir()
    (folder / "link.yaml").symlink_to(tmp_path / "sweep.yaml")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "train_link.py").symlink_to(tmp_path / "train.py")
    inner.write(
        source={"source_dir": ".."},
        linked={"source_dir": "linked"},
        data={"inputs": {"data": f"file://{tmp_path}"}},
        escaped={"inputs": {"data": f"file://{folder}/%2e%2e"}},
        twice={"inputs": {"data": f"file://{folder}/%252e%252e"}},
        thrice={"inputs": {"data": f"file://{folder}/%25252e%25252e"}},
        output={"output_path": "file://../out"},
        overlay={"request": {"OutputDataConfig": {"S3OutputPath": f"FILE://{tmp_path}"}}},
        program=grid(a=[1]) | {"program": "../train.py"},
        script=grid(a=[1]) | {"program": "train_link.py"},
        absolute=grid(a=[1]) | {"program": str(tmp_path / "train.py")},
    )
    configs = [
        *("../sweep.yaml", str(tmp_path / "sweep.yaml"), "link.yaml", "linked/sweep.yaml", "/proc/self/environ"),
        *("none.yaml", ".", "a\0b", "x" * 900, "program.yaml", "absolute.yaml", "script.yaml"),
    ]
    jobs = [
        "source.yaml",
        "linked.yaml",
        "data.yaml",
        "output.yaml",
        "escaped.yaml",
        "twice.yaml",
        "thrice.yaml",
        "overlay.yaml",
        "../job.yaml",
    ]
    answers = inner.ask(
        *(["create", {"config": config}] for config in configs),
        *(["create", {"config": "sweep.yaml", "job": job}] for job in jobs),
        *(["plan", {"config": "sweep.yaml", "job": job}] for job in jobs),
    )
    texts = errors(answers)
    assert len(texts) == len(configs) + 2 * len(jobs)

    assert all(
        "outside" in text
        or "no such file" in text
        or "link leads out" in text
        or "escapes, queries and hosts are" in text
        or "expected s3:" in text
        for text in texts
    ), texts
    assert not any("Traceback" in text or "internal error" in text for text in texts)
    assert inner.call("ls").stdout.strip() == ""


@pytest.mark.parametrize("allowed", ["1", ""])
def test_code_that_needs_consent_does_not_run_even_with_consent(tmp_path: Path, allowed: str) -> None:
    server = Server(tmp_path, {"SMSWEEP_ALLOW_CODE": allowed, "HOOK_TOKEN": "hook-token-6d1f2a"})
    mark = tmp_path / "executed"
    (tmp_path / "space.py").write_text(f"open({str(mark)!r}, 'w')\ndef define(trial): ...\n")
    program = {"engine": "optuna", "source": "space.py"}
    server.write(
        search=grid(a=[1]) | {"method": "custom", "run_cap": 1, "scheduler": program},
        hook={"notify": {"command": ["touch", str(mark)]}},
        header={"notify": {"url": "http://127.0.0.1:9/", "headers": {"Authorization": "env:HOOK_TOKEN"}}},
        webhook={"notify": "http://127.0.0.1:9/"},
        secret={"secrets": {"TOKEN": "env:HOOK_TOKEN"}},
        variable={"environment": {"SMSWEEP_SECRET_X": "env:HOOK_TOKEN"}},
        file={"secrets_env": True},
        places={"places": ["process:2"]},
    )
    names = ("hook", "header", "webhook", "secret", "variable", "file", "places")
    jobs = [f"{name}.yaml" for name in names]
    answers = server.ask(
        ["create", {"config": "search.yaml"}],
        ["plan", {"config": "search.yaml"}],
        *(["create", {"config": "sweep.yaml", "job": job}] for job in jobs),
    )
    assert len(errors(answers)) == 2 + len(jobs)
    assert not mark.exists()
    assert server.call("ls").stdout.strip() == ""


def test_limit_of_trials_holds_over_servers_and_simultaneous_calls(server: Server) -> None:
    create = ["create", {"config": "sweep.yaml"}]
    options = (*PROCESS, "--max-trials", "7")
    first: Any = server.ask([create, create, create], options=options)[0]
    second = server.ask(create, ["create", {"config": "sweep.yaml", "trials": 1}], create, options=options)
    assert sorted(answer["is_error"] for answer in first) == [False, False, True]
    assert [answer["is_error"] for answer in second] == [True, False, True]
    sweeps = server.json("ls")
    assert len(sweeps) == 3
    reserved = sum(entry["trials"] for entry in server.log if entry["event"] == "reserved")
    assert reserved == 7


def test_unlimited_sweep_needs_a_number_of_trials(server: Server) -> None:
    server.write(endless=grid(a=[1, 2]) | {"method": "random"})
    refused, created, ran, _ = server.ask(
        ["create", {"config": "endless.yaml"}],
        ["create", {"config": "endless.yaml", "trials": 2}],
        ["run", {"sweep": "$sweep"}],
        "wait",
        ["trials", {"sweep": "$sweep"}],
    )
    assert refused["text"] == "trials: the sweep has no end; set run_cap in sweep.yaml, or give trials"
    assert not created["is_error"] and not ran["is_error"]
    assert [len(server.trials(sweep["id"])) for sweep in server.json("ls")] == [2]


def test_client_reads_but_does_not_change_sweeps_of_the_user(server: Server) -> None:
    sweep_id = server.run()
    refused = server.ask(
        ["run", {"sweep": sweep_id}],
        ["stop", {"sweep": sweep_id, "how": "resume"}],
        ["retry", {"trials": [f"{sweep_id}/0"]}],
        ["reproduce", {"trial": f"{sweep_id}/0"}],
        ["set", {"sweep": sweep_id, "changes": ["run_cap=1"]}],
    )
    assert (
        errors(refused) == [f"sweep {sweep_id}: MCP did not create it; only the user can do this, outside MCP"] * 5
    )
    (best,) = documents(server.ask(["best", {"sweep": sweep_id}]))
    assert best["best"]["params"] == {"a": 1}


def test_client_changes_its_sweep_within_the_reservation(server: Server) -> None:
    key = "AKIA" + "IOSFODNN7EXAMPLF"
    (created,) = documents(server.ask(["create", {"config": "sweep.yaml"}]))
    sweep = created["sweep"]

    def change(*changes: str, **more: object) -> list[Any]:
        return ["set", {"sweep": sweep, "changes": [*changes], **more}]

    tried, changed = documents(
        server.ask(
            change("parameters.a.values=[1, 5, 6, 7, 8, 9]", dry_run=True), change("parameters.a.values+=9")
        )
    )
    assert tried == {"dry_run": True, "sweep": sweep, "changes": {"parameters.a.values": [1, 5, 6, 7, 8, 9]}}
    assert changed["revision"]["changes"] == {"parameters.a.values": [1, 2, 3, 9]}
    refused = errors(
        server.ask(
            change("budget.trials=50"),
            change("budget=null"),
            change("run_cap=2", "budget.usd=1000"),
            change("parallel=200"),
            change("program=/bin/sh"),
            change("notify=https://example.com"),
            change(f"parameters.a.values+={key}"),
            change("nonsense"),
        )
    )
    assert [text.partition(":")[0] for text in refused[:6]] == [
        *("budget.trials", "budget", "budget.usd", "parallel", "program", "notify")
    ]
    assert key not in "".join(refused)
    assert key not in (server.folder / ".smsweep" / "mcp.jsonl").read_text()
    _, status = documents(server.ask(["run", {"sweep": sweep}], "wait", ["status", {"sweep": sweep}]))
    assert len(status["sweep"]["revisions"]) == 2
    assert status["sweep"]["trials"] == {"finished": 3}  # of four cells: the reservation is three trials


def test_lower_limits_apply_to_earlier_sweeps(server: Server) -> None:
    (created,) = documents(server.ask(["create", {"config": "sweep.yaml"}]))
    run, stop = ["run", {"sweep": created["sweep"]}], ["stop", {"sweep": created["sweep"]}]
    resume = ["stop", {"sweep": created["sweep"], "how": "resume"}]
    too_many, stopped, resumed = server.ask(run, stop, resume, options=(*PROCESS, "--max-trials", "2"))
    (backend,) = errors(server.ask(run, options=("--backends", "docker")))
    message = "trials: 3 of the 2 that the user allows are reserved; ask the user to raise --max-trials"
    assert errors([too_many, resumed]) == [message] * 2
    assert documents([stopped])[0]["state"] == "stopped"
    assert backend == "backend: process is not allowed; use docker"
    assert server.trials(created["sweep"]) == []


def test_second_agent_of_a_sweep_is_refused(server: Server) -> None:
    (server.folder / "train.py").write_text("import time\ntime.sleep(60)\n")
    created, first, second, stopped = server.ask(
        ["create", {"config": "sweep.yaml"}],
        ["run", {"sweep": "$sweep"}],
        ["run", {"sweep": "$sweep"}],
        ["stop", {"sweep": "$sweep", "how": "cancel"}],
    )
    sweep_id = documents([created, first, stopped])[0]["sweep"]
    assert second["text"] == f"sweep {sweep_id}: agent 0 runs it already; see its progress in status"


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_server_neither_loses_nor_doubles_a_reservation(server: Server, when: str) -> None:
    create = ["create", {"config": "sweep.yaml"}]
    killed = ("tests.support.kill_points", when, "store.create_sweep", "1")
    assert errors(server.ask(create, module=killed))[0].startswith("no answer")
    (status,) = documents(server.ask(["status", {}]))
    n_sweeps = {"before": 0, "after": 1}[when]
    assert status["total"] == n_sweeps
    assert status["limits"]["trials"]["reserved"] == 3 * n_sweeps


def test_secrets_are_masked_and_control_characters_are_escaped(tmp_path: Path) -> None:
    secret = "Xk3v-9QpLr72-mTzw48"
    server = Server(tmp_path, {"MY_API_TOKEN": secret})
    (tmp_path / "train.py").write_text(
        f"print('token {secret}')\nprint('\\x1b[31mred\\x1b[0m \\u202eleft \\x07')\nprint('y' * 1_000_000)\n"
        f"import smsweep, sys\nsmsweep.log({{'loss': 1, 'n\\x1b[2J{secret}': 2}})\n"
        f"sys.exit('bad {secret} \\x1b]0;t\\x07')\n"
    )
    answers = server.ask(
        ["create", {"config": "sweep.yaml", "name": f"n{secret}"}],
        ["create", {"config": "sweep.yaml"}],
        ["run", {"sweep": "$sweep"}],
        "wait",
        ["logs", {"trial": "$sweep/0", "cursor": 0}],
        ["why", {"trial": "$sweep/0"}],
        ["trials", {"sweep": "$sweep"}],
        ["status", {"sweep": "$sweep"}],
        ["diff", {"a": "$sweep/0", "b": "$sweep/1"}],
        [secret, {secret: "\x1b[2J"}],
    )
    texts = [answer["text"] for answer in answers]
    assert not any(secret in text for text in texts)
    assert all(len(text) <= 50_000 for text in texts)
    assert "token ***" in texts[3]
    for text in texts:
        assert text.replace("\n", "").isprintable()
        assert "\\u001b" not in text and "\\u202e" not in text.replace("\\\\u202e", "")
    log = (tmp_path / ".smsweep" / "mcp.jsonl").read_text()
    assert secret not in log
    assert log.replace("\n", "").isprintable()


LEAKS = """
import os, pathlib, sys
print(pathlib.Path.home().joinpath(".netrc").read_text())
print("postgres://user:pw5@db.corp/x https://me:tok9@localhost:80/")
print(sys.argv, os.environ["DATABASE"], os.environ["WANDB_API_KEY"])
for argument in sys.argv[1:]:
    print(argument.partition("=")[2])
import smsweep
smsweep.log({"loss": 1, "text": " ".join(sys.argv)})
sys.exit(f"failed with {sys.argv} and {os.environ['DATABASE']}" if "--a=1" in sys.argv else 0)
"""


def test_no_tool_returns_a_secret(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".netrc").write_text("machine db.corp login me password " + "ntr-Vc81-kLw\n")
    environ = {
        "HOME": str(home),
        "WANDB_API_KEY": "0123456789abcdef" * 2 + "f00dfeed",
        "DATABASE": "postgres://user:" + "dbp-7Yw3@db.corp/x",
    }
    server = Server(tmp_path, environ)
    (tmp_path / "train.py").write_text(LEAKS)
    server.write(
        sweep=grid(
            a=[1, 2],
            api_token="tok-Xk3v-QpL",
            db_password="hunter-blue",
            client_secret=["sec-A1b2", "sec-C3d4"],
            tokenizer="bert-base-2",
            max_tokens=51200000,
        ),
        broken=grid(a=[1], api_token="tok-Br0k-enX") | {"method": "gird", "db_password": "hunter-pink"},
    )
    secrets = {
        *("ntr-Vc81-kLw", environ["WANDB_API_KEY"], "dbp-7Yw3", "user:pw5@", "me:tok9@"),
        *("tok-Xk3v-QpL", "hunter-blue", "sec-A1b2", "sec-C3d4", "sec-E5f6", "hunter-pink"),
    }
    answers = server.ask(
        ["plan", {"config": "sweep.yaml"}],
        ["create", {"config": "sweep.yaml"}],
        ["run", {"sweep": "$sweep", "parallel": 2}],
        "wait",
        ["status", {}],
        ["status", {"sweep": "$sweep"}],
        ["trials", {"sweep": "$sweep"}],
        ["best", {"sweep": "$sweep"}],
        ["why", {"trial": "$sweep/0"}],
        ["why", {"trial": "$sweep-1"}],
        ["logs", {"trial": "$sweep/0", "cursor": 0}],
        ["logs", {"trial": "$sweep-1"}],
        ["diff", {"a": "$sweep/0", "b": "$sweep/1"}],
        ["set", {"sweep": "$sweep", "changes": ["parameters.client_secret.values+=sec-E5f6"], "dry_run": True}],
        ["set", {"sweep": "$sweep", "changes": ["parameters.client_secret.values+=sec-E5f6"]}],
        ["diff", {"a": "$sweep@1", "b": "$sweep@2"}],
        ["status", {"sweep": "$sweep"}],
        ["report", {"sweep": "$sweep"}],
        ["retry", {"trials": ["$sweep/0"], "dry_run": True}],
        ["reproduce", {"trial": "$sweep/1", "dry_run": True}],
        ["stop", {"sweep": "$sweep", "how": "resume", "dry_run": True}],
        ["set", {"sweep": "$sweep", "changes": ["parameters.db_password.value=[hunter-pink"]}],
        ["plan", {"config": "broken.yaml"}],
    )
    texts = [answer["text"] for answer in answers]
    assert len(documents(answers[:-2])) == 20
    assert [(secret, n) for n, text in enumerate(texts) for secret in sorted(secrets) if secret in text] == []
    plan, logs = texts[0], texts[9]
    assert "--api_token=***" in plan and "--tokenizer=bert-base-2" in plan and "--max_tokens=51200000" in plan
    assert "postgres://user:***@db.corp/x https://me:***@localhost:80/" in logs
    audit_log = (tmp_path / ".smsweep" / "mcp.jsonl").read_text()
    assert [secret for secret in secrets if secret in audit_log] == []


def test_trials_on_this_machine_get_no_credentials_of_aws(tmp_path: Path) -> None:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "SMSWEEP_ALLOW_CODE")
    server = Server(tmp_path, {name: f"{name.lower()}-value" for name in names})
    (tmp_path / "train.py").write_text(f"import os\nprint('has', [n for n in {names} if n in os.environ])\n")
    logs = server.ask(
        ["create", {"config": "sweep.yaml"}],
        ["run", {"sweep": "$sweep"}],
        "wait",
        ["logs", {"trial": "$sweep/0"}],
        ["reproduce", {"trial": "$sweep/0"}],
        "wait",
        ["logs", {"trial": "$again/0"}],
    )
    assert [documents([logs[index]])[0]["lines"] for index in (2, 4)] == [["has []"]] * 2


def test_audit_log_records_every_call(server: Server) -> None:
    server.ask(
        ["status", {}],
        ["nope", {"x": 1}],
        ["create", {"config": "sweep.yaml", "max_trials": 1000}],
        ["create", {"config": 5}],
        ["trials", {"sweep": "abcd1234", "limit": 1000}],
        ["run", {}],
    )
    calls = [(entry["tool"], entry["arguments"]) for entry in server.log if entry["event"] == "call"]
    assert calls == [
        ("status", "{}"),
        ("nope", '{"x": 1}'),
        ("create", '{"config": "sweep.yaml", "max_trials": 1000}'),
        ("create", '{"config": 5}'),
        ("trials", '{"sweep": "abcd1234", "limit": 1000}'),
        ("run", "{}"),
    ]
    ends = [entry for entry in server.log if entry["event"] in ("done", "failed")]
    assert [entry["event"] for entry in ends] == ["done", *["failed"] * 5]
    assert ends[2]["text"] == "create: max_trials: Unexpected keyword argument; see the input schema of the tool"


def test_hostile_pages_labels_and_changes_get_clear_errors(server: Server) -> None:
    huge, digits = 10**30, "9" * 900
    changes = [
        *(
            "parameters.a.values=" + "[" * 900,
            "parameters.a.values=&a [*a, *a]",
            "parameters.a.values=!!python/none x",
        ),
        *(
            "parameters.a=1" + "0" * 900,
            "run_cap=1" + "0" * 400,
            "parallel=1e400",
            "parameters.a.values=" + "x" * 2_000,
        ),
        *("a" * 900 + "=1", "=1", "parameters.=1", "run_cap=-1", "parallel=0"),
    ]
    (created,) = documents(server.ask(["create", {"config": "sweep.yaml"}]))
    sweep = created["sweep"]
    answers = server.ask(
        ["trials", {"sweep": sweep, "cursor": huge}],
        ["trials", {"sweep": sweep, "cursor": -1}],
        ["trials", {"sweep": sweep, "limit": 201}],
        ["status", {"cursor": huge}],
        ["logs", {"trial": f"{sweep}/0", "cursor": huge}],
        ["logs", {"trial": f"{sweep}/{digits}"}],
        ["why", {"trial": f"{sweep}/{digits}"}],
        ["why", {"trial": f"{sweep}-{digits}"}],
        ["diff", {"a": f"{sweep}@{digits}", "b": f"{sweep}@1"}],
        ["diff", {"a": "../" * 300, "b": "x\0y"}],
        ["report", {"sweep": "../../etc"}],
        ["status", {"sweep": "x" * 5_000_000}],
        ["retry", {"trials": [f"{sweep}/{number}" for number in range(201)]}],
        ["plan", {"config": "sweep.yaml", "trials": huge}],
        ["plan", {"config": "sweep.yaml", "n": huge}],
        ["create", {"config": "sweep.yaml", "usd": 1e300}],
        ["create", {"config": "sweep.yaml", "seed": huge}],
        ["run", {"sweep": sweep, "parallel": huge}],
        ["set", {"sweep": sweep, "changes": ["run_cap=1"] * 201}],
        *(["set", {"sweep": sweep, "changes": [change]}] for change in changes),
    )
    texts = errors(answers)
    assert [text for text in texts if "internal error" in text or "Traceback" in text or len(text) > 4_000] == []
    (status,) = documents(server.ask(["status", {"sweep": sweep}]))
    assert len(status["sweep"]["revisions"]) == 1


def test_simultaneous_runs_of_a_sweep_start_one_agent(server: Server) -> None:
    (server.folder / "train.py").write_text("import time\ntime.sleep(60)\n")
    run = ["run", {"sweep": "$sweep"}]
    _, runs, stopped = server.ask(
        ["create", {"config": "sweep.yaml"}], [run, run, run], ["stop", {"sweep": "$sweep", "how": "cancel"}]
    )
    both: Any = runs
    assert sorted(answer["is_error"] for answer in both) == [False, True, True]
    assert not stopped["is_error"]
    (agents,) = (server.folder / ".smsweep" / "agents").iterdir()
    assert len(list(agents.glob("*.log"))) == 1


def test_errors_have_the_text_of_the_command_line(server: Server) -> None:
    server.write(broken=grid(a=[1]) | {"method": "gird"})
    mcp, missing = errors(server.ask(["plan", {"config": "broken.yaml"}], ["best", {"sweep": "nope1234"}]))
    cli = server.call("plan", "broken.yaml", code=2).stderr.removeprefix("error: ").strip()
    assert mcp.replace(f"{server.folder}/", "") == cli
    assert missing in server.call("best", "nope1234", code=2).stderr


PAID = (
    *("--backends", "sagemaker", "--instance-types", "ml.m5.large=3.6", "--role", ROLE),
    *("--budget-usd", "2.5", "--max-trials", "100"),
)


def test_limit_of_dollars_holds_on_sagemaker(account: Account) -> None:  # noqa: F811 - the fixture
    server = Server(account.folder, account_environ())
    job = {**account.job, "max_run": 600}  # at most 60 cents per trial
    del job["agent"]
    resources = {"InstanceType": "ml.p5.48xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
    server.write(
        job=job,
        cheap=job | {"price_per_hour": 0.001, "budget": {"usd": 1}},
        large=job | {"instance_type": "ml.p5.48xlarge"},
        overlay=job | {"request": {"ResourceConfig": resources}},
        many=job
        | {"request": {"ResourceConfig": resources | {"InstanceType": "ml.m5.large", "InstanceCount": 9}}},
        long=job | {"max_run": 86_400},
        role=job | {"role": ROLE + "-admin"},
        nameless={key: value for key, value in job.items() if key != "instance_type"},
    )
    refused = ["large", "overlay", "many", "long", "role", "nameless"]
    answers = server.ask(
        *(["create", {"config": "sweep.yaml", "job": f"{name}.yaml"}] for name in refused),
        ["create", {"config": "sweep.yaml", "backend": "process"}],
        ["plan", {"config": "sweep.yaml", "job": "job.yaml"}],
        ["create", {"config": "sweep.yaml", "job": "cheap.yaml"}],
        ["run", {"sweep": "$sweep"}],
        "wait",
        ["create", {"config": "sweep.yaml", "job": "job.yaml"}],
        ["create", {"config": "sweep.yaml", "job": "job.yaml", "usd": 1.5}],
        ["reproduce", {"trial": "$sweep/0"}],
        options=PAID,
    )
    n = len(refused) + 1
    reasons = [
        *(["instance_type: ml.p5.48xlarge is not allowed"] * 2),
        *("usd: $16.20 do not fit", "usd: $259.20 do not fit", "smsweep-test-admin is not allowed"),
        *("instance_type: missing", "backend: process is not allowed; use sagemaker"),
    ]
    assert all(reason in text for reason, text in zip(reasons, errors(answers[:n]), strict=True))
    plan, created, _ = documents(answers[n : n + 3])
    assert plan["launch"]["price_per_hour"] == 3.6
    assert plan["reserves"] == {"trials": 3, "usd": pytest.approx(1.8)}
    assert created["reserves"] == {"trials": 3, "usd": 1}
    too_much, fits, again = answers[n + 3 :]
    assert too_much["text"].startswith(
        "usd: $1.80 do not fit: $1.00 of the $2.50 that the user allows are reserved"
    )
    assert not fits["is_error"]
    assert again["is_error"]
    shown = server.json("show", created["sweep"])
    assert shown["usage"]["budget"] == {"usd": 1.0, "trials": 3}
    assert [trial["state"] for trial in server.trials(created["sweep"])] == ["finished"] * 3


def account_environ() -> dict[str, str]:
    """Return the settings of the account, which its fixture has put into the environment of this process."""
    return {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "SMSWEEP_"))}
