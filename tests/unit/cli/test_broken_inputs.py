"""Broken files, scripts, images, credentials and stores: one clear message, an exit code and no traceback.

The message has a fix. Wrong arguments on the command line are in test_mistakes.py, and images that an
engine refuses in docker/test_broken_images.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli

pytestmark = pytest.mark.slow

GRID = "program: train.py\nmethod: grid\nmetric: {name: loss}\nparameters: {a: {values: [1, 2]}}\n"
RANDOM = "program: train.py\nmethod: random\nrun_cap: 2\nmetric: {name: loss}\nparameters:\n  "


def param(text: str) -> str:
    return f"{RANDOM}{text}\n"


SWEEPS: dict[str, tuple[str | bytes, str]] = {
    "UTF-16": (
        "program: train.py\n".encode("utf-16"),
        "sweep.yaml:1: not UTF-8 (byte 0xff); save the file as UTF-8",
    ),
    "Latin 1": ("name: caf\xe9\n".encode("latin1"), "not UTF-8 (byte 0xe9)"),
    "a tab": ("program: train.py\nparameters:\n\ta: 1\n", "sweep.yaml:3: a tab cannot indent"),
    "NUL": ("program: a\x00b\n", "character U+0000"),
    "two documents": (f"{GRID}---\n{GRID}", "sweep.yaml:5: a second document"),
    "a tag that builds objects": ("program: !!python/object/apply:os.system [ls]\n", "write a plain value"),
    "a deep nest": (f"a: {'[' * 5000}{']' * 5000}\n", "nested deeper than 64 levels"),
    "a quote left open": (
        f"{GRID}name: 'abc\nentity: x\n",
        "sweep.yaml:5: a quote that is never closed; close it",
    ),
    "an invisible line break": (f"{GRID}name: a\u2028b\n", "sweep.yaml:5: character U+2028 ends a line"),
    "empty command": (f"{GRID}command: []\n", "command: expected at least 1 item, got 0"),
    "alias that contains itself": ("a: &a [*a]\n", "contains itself"),
    "an empty parameter": (param("a: {}"), "sweep.yaml:6: parameters.a: an empty parameter"),
    "a bare parameter": (param("a: 3"), "write {value: 3}"),
    "a bare list": (param("a: [1, 2]"), "write {values: [...]}"),
    "values is not a list": (param("a: {values: 3}"), "write [a, b, c]"),
    "no values": (param("a: {values: []}"), "at least one value"),
    "a bound is text": (param("a: {min: low, max: 3}"), "parameters.a.min: expected a number, got 'low'"),
    "a bound is NaN": (param("a: {min: .nan, max: 3.0}"), "not a finite number"),
    "q is zero": (param("a: {distribution: q_uniform, min: 0.0, max: 1.0, q: 0}"), "needs q > 0"),
    "a distribution misspelt": (
        param("a: {distribution: log_uniform_value, min: 0.1, max: 1.0}"),
        "did you mean log_uniform_values?",
    ),
    "value and min": (param("a: {value: 1, min: 0.1}"), "parameters.a.min: cannot be combined with value"),
    "probabilities": (param("a: {values: [1, 2], probabilities: [0.3, 0.3]}"), "got a sum of 0.6"),
    "min above max": (param("a: {parameters: {b: {min: 2, max: 1}}}"), "got min 2 and max 1"),
    "log of a negative bound": (
        param("a: {distribution: log_uniform_values, min: -1, max: 2}"),
        "use uniform, or raise min",
    ),
    "a name with a blank": (param("'a b': {value: 1}"), "cannot name a parameter"),
    "a key that is a number": (f"{GRID}3: 4\n", "a key must be text; quote it"),
    "no parameters": ("program: train.py\nmethod: random\n", "parameters: missing"),
    "run_cap is zero": (f"{GRID}run_cap: 0\n", "run_cap: expected a whole number above 0, got 0"),
    "command is text": (f"{GRID}command: python train.py\n", "write [python, train.py]"),
    "command is text with a macro": (f"{GRID}command: python ${{args}}\n", 'write [python, "${args}"]'),
    "probabilities in a grid": (
        GRID.replace("values: [", "probabilities: [0.5, 0.6, 0.1], values: ["),
        "a grid cannot list categorical_w_probabilities",
    ),
    "metric is text": (GRID.replace("{name: loss}", "loss"), "metric: expected a mapping, got 'loss'"),
    "one metric twice": (
        GRID.replace(
            "method: grid\nmetric: {name: loss}", "method: custom\nmetrics: [{name: loss}, {name: loss}]"
        ),
        "sweep.yaml:3: metrics[1].name: 'loss' occurs twice",
    ),
    "goal misspelt": (GRID.replace("{name: loss}", "{name: loss, goal: minimise}"), "did you mean minimize?"),
    "early_terminate without bounds": (
        f"{GRID}early_terminate: {{type: hyperband}}\n",
        "needs min_iter, or max_iter",
    ),
    "early_terminate misspelt": (f"{GRID}early_terminate: {{type: hyperbnd}}\n", "did you mean hyperband?"),
    "program in another folder": (GRID.replace("train.py", "../train.py"), "was not found in"),
    "a program that is a number": (GRID.replace("train.py", "3"), "program: expected text, got 3; quote it"),
}


@pytest.mark.parametrize(("content", "message"), SWEEPS.values(), ids=SWEEPS.keys())
def test_broken_sweep_config_gets_an_error(cli: Cli, folder: Path, content: str | bytes, message: str) -> None:
    (folder / "sweep.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    expect(cli, ["run", "sweep.yaml"], 2, message)
    assert cli("ls", "--json").out.strip() == "[]"


JOBS = {
    "a key misspelt": ("instance_typ: ml.m5.large\n", "did you mean instance_type?"),
    "a list": ("- 1\n", "got a list"),
    "max_run with a unit": ("max_run: 1h\n", "max_run: expected a whole number above 0, got '1h'"),
    "max_wait too short": ("max_run: 9\nmax_wait: 1\nuse_spot_instances: true\n", "raise max_wait"),
    "a role's name alone": ("role: trainer\n", "expected a whole ARN"),
    "invalid regex": ("metric_definitions: [{Name: x, Regex: '('}]\n", "is not a valid regular expression"),
    "a regex without a group": ("metric_definitions: [{Name: x, Regex: abc}]\n", "has no group"),
    "a channel by its path": ("inputs: {train: ./data}\n", "a folder on this machine is file://"),
    "invalid condition": ("stop_if: ['loss >> 3']\n", "is not a valid condition"),
    "a budget below zero": ("budget: {usd: -1}\n", "budget.usd: expected a number above 0"),
    "a launch by its name": ("distribution: mpi\n", "got 'mpi'; write {mpi: {enabled: ...}}"),
    "a budget without a unit": ("budget: 10\n", "got 10; write {usd: 10}"),
    "home folder of an unknown user": (
        "source_dir: ~nobody-of-that-name/x\n",
        "no such source folder; correct `source_dir`",
    ),
    "tags without keys": ("tags: [a]\n", "tags: expected a mapping"),
    "key in plain text": ("environment: {WANDB_API_KEY: abc}\n", "move it to secrets"),
}


@pytest.mark.parametrize(("text", "message"), JOBS.values(), ids=JOBS.keys())
def test_broken_job_config_gets_an_error(cli: Cli, folder: Path, text: str, message: str) -> None:
    (folder / "job.yaml").write_text(text)
    expect(cli, ["run", "sweep.yaml", "--job", "job.yaml"], 2, message)
    assert cli("ls", "--json").out.strip() == "[]"


SCRIPTS = {
    "a module is missing": ("import notthere\n", "ModuleNotFoundError: No module named 'notthere'"),
    "a signal": ("import os\nos.kill(os.getpid(), 11)\n", "SIGSEGV"),
    "nothing is logged": ("", "ever reporting the sweep's metric 'loss'; it reported nothing"),
    "two other metrics are logged": (
        "import smsweep\nsmsweep.init().log({'los': 1, 'acc': 1})\n",
        "it reported los, acc",
    ),
    "only another metric is logged": ("import smsweep\nsmsweep.init().log({'los': 1})\n", "it reported los"),
    "syntax of Python 2": ("print 'hello'\n", "SyntaxError"),
    "exit with a message": ("raise SystemExit('no data in /data')\n", "no data in /data"),
}


@pytest.mark.parametrize(("text", "message"), SCRIPTS.values(), ids=SCRIPTS.keys())
def test_broken_script_fails_its_trials(cli: Cli, folder: Path, text: str, message: str) -> None:
    (folder / "train.py").write_text(text)
    (folder / "sweep.yaml").write_text(GRID)
    expect(cli, ["run", "sweep.yaml"], 3, message)


COMMANDS = {
    "no such interpreter": ("[pythonx, '${program}']", "pythonx: no such program"),
    "not executable": ("[./run.sh]", "Permission denied"),
}


@pytest.mark.parametrize(("command", "message"), COMMANDS.values(), ids=COMMANDS.keys())
def test_broken_command_fails_its_trials(cli: Cli, folder: Path, command: str, message: str) -> None:
    (folder / "run.sh").write_text("echo\n")
    (folder / "sweep.yaml").write_text(f"{GRID}command: {command}\n")
    expect(cli, ["run", "sweep.yaml"], 3, message)


IMAGES = {
    "an image without a name": ("image_uri: ''\n", {}, "image_uri: expected text that is not blank"),
    "an image that is a number": ("image_uri: 3\n", {}, "image_uri: expected text, got 3; quote it"),
    "a framework misspelt": ("framework: tensorfow\n", {}, "did you mean tensorflow?"),
    "a framework without a version": ("framework: pytorch\n", {}, "framework_version: missing"),
    "an engine's address without a port": ("", {"DOCKER_HOST": "nonsense"}, "DOCKER_HOST: Invalid bind address"),
    "an engine by another protocol": ("", {"DOCKER_HOST": "ftp://h"}, "expected a URL such as unix:///var/run"),
    "invalid cap": ("", {"SMSWEEP_DOCKER_CPUS": "many"}, "SMSWEEP_DOCKER_CPUS: expected a number such as"),
    "a channel that is piped": (
        "inputs: {a: {s3_uri: 's3://b/a', input_mode: Pipe}}\n",
        {},
        "Pipe is not available on this machine",
    ),
    "a channel on a file system": (
        "inputs: {a: {file_system_id: fs-12345678, file_system_type: EFS, directory_path: /a}}\n",
        {},
        "channel a: a file system cannot be read on this machine; use a file:// or s3:// URI",
    ),
    "a channel that is not there": ("inputs: {a: 'file://nowhere'}\n", {}, "nowhere does not exist"),
}


@pytest.mark.parametrize(("job", "environ", "message"), IMAGES.values(), ids=IMAGES.keys())
def test_broken_image_gets_an_error(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, job: str, environ: dict[str, str], message: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    (folder / "job.yaml").write_text(job or "image_uri: train:1\n")
    expect(cli, ["run", "sweep.yaml", "--job", "job.yaml", "--backend", "docker"], 2, message)
    assert cli("ls", "--json").out.strip() == "[]"


KEYS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "hidden"}
# Variables, ~/.aws/config, exit code, message. Some cases concern the connection instead of the keys.
CREDENTIALS: dict[str, tuple[dict[str, str], str, int, str]] = {
    "no credentials": ({}, "", 1, "AWS credentials: there are none; refresh them (aws sso login"),
    "half a key": ({"AWS_ACCESS_KEY_ID": "AKIA"}, "", 1, "AWS_SECRET_ACCESS_KEY is not"),
    "no such profile": ({"AWS_PROFILE": "nope"}, "", 1, "profile (nope) could not be found"),
    "a profile of a profile": (
        {},
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n",
        1,
        'source_profile "base" referenced in the profile "default" does not exist; refresh them',
    ),
    "a sign-on that is over": (
        {},
        "[default]\nsso_start_url = https://s\nsso_region = eu-west-1\nsso_account_id = 1\nsso_role_name = r\n",
        1,
        "Error loading SSO Token",
    ),
    "a program that is not there": (
        {},
        "[default]\ncredential_process = ./keys\n",
        1,
        "No such file or directory",
    ),
    "a file of settings cut off": ({}, "[default\n", 1, "Unable to parse config file"),
    "no region of AWS's": ({**KEYS, "AWS_REGION": "eu west"}, "", 2, "AWS_REGION: Provided region_name 'eu west'"),
    "invalid endpoint URL": (
        {**KEYS, "AWS_ENDPOINT_URL": "sagemaker"},
        "",
        2,
        "expected a URL such as http",
    ),
}


@pytest.mark.parametrize(("environ", "config", "code", "message"), CREDENTIALS.values(), ids=CREDENTIALS.keys())
def test_broken_credentials_get_an_error(
    cli: Cli,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    config: str,
    code: int,
    message: str,
) -> None:
    sagemaker(folder, monkeypatch, environ, config)
    expect(cli, ["run", "sweep.yaml", "--job", "job.yaml", "--backend", "sagemaker"], code, message)
    assert cli("ls", "--json").out.strip() == "[]"


SETTINGS = {
    "no queue": ("batch", {}, "SMSWEEP_BATCH_QUEUE is not set"),
    "a priority too high": (
        "batch",
        {"SMSWEEP_BATCH_QUEUE": "gpus", "SMSWEEP_BATCH_PRIORITY": "10000"},
        "SMSWEEP_BATCH_PRIORITY: expected a whole number from 0 to 9999",
    ),
    "a rate of nothing known": (
        "sagemaker",
        {"SMSWEEP_SAGEMAKER_RATES": "foo=1"},
        "SMSWEEP_SAGEMAKER_RATES: 'foo=1'",
    ),
    "pause is not a number": ("sagemaker", {"SMSWEEP_SAGEMAKER_POLL_S": "x"}, "expected a number, got 'x'"),
}


@pytest.mark.parametrize(("backend", "environ", "message"), SETTINGS.values(), ids=SETTINGS.keys())
def test_broken_settings_get_an_error(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, backend: str, environ: dict[str, str], message: str
) -> None:
    sagemaker(folder, monkeypatch, {**KEYS, **environ}, "")
    expect(cli, ["run", "sweep.yaml", "--job", "job.yaml", "--backend", backend], 2, message)
    assert cli("ls", "--json").out.strip() == "[]"


TOKEN = "secrets: {TOKEN: 'env:NOT_SET_AT_ALL'}"


@pytest.mark.parametrize(
    ("backend", "line", "message"),
    [
        ("process", TOKEN, "secret TOKEN: NOT_SET_AT_ALL is not set on this machine; set it"),
        ("docker", TOKEN, "secret TOKEN: NOT_SET_AT_ALL is not set on this machine; set it"),
        ("sagemaker", TOKEN, "secret TOKEN: NOT_SET_AT_ALL is a variable of this machine"),
        ("sagemaker", "inputs: 'file:///data'", "file:///data is on this machine only; give an s3:// URI"),
    ],
)
def test_missing_requirement_of_every_job_creates_no_sweep(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, backend: str, line: str, message: str
) -> None:
    sagemaker(folder, monkeypatch, KEYS, "")
    with (folder / "job.yaml").open("a") as job:
        job.write(f"{line}\n")
    expect(cli, ["run", "sweep.yaml", "--job", "job.yaml", "--backend", backend], 2, message)
    assert cli("ls", "--json").out.strip() == "[]"


def test_unreachable_aws_gets_an_error(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sagemaker(folder, monkeypatch, {**KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "")
    message = 'runtime.zip"; check the network, AWS_REGION and AWS_ENDPOINT_URL'
    expect(cli, ["run", "sweep.yaml", "--job", "job.yaml", "--backend", "sagemaker"], 1, message)


def sagemaker(folder: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], config: str) -> None:
    """Configure AWS with only the specified settings."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (folder / "config").write_text(config)
    settings = {
        "AWS_CONFIG_FILE": "config",
        "AWS_SHARED_CREDENTIALS_FILE": "none",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in {**settings, "AWS_REGION": "eu-west-1", **environ}.items():
        monkeypatch.setenv(name, value)
    (folder / "job.yaml").write_text(
        "image_uri: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/train:1\n"
        "role: arn:aws:iam::123456789012:role/trainer\ninstance_type: ml.m5.large\n"
    )


STORES = {
    "no URL": ("nonsense", 2, "is not a database URL"),
    "another database": ("mysql://h/d", 2, "mysql is not supported"),
    "another driver": (
        "sqlite+aiosqlite:///x.db",
        2,
        "sqlite+aiosqlite is not supported; the store is an SQLite file",
    ),
    "a word that SQLite does not know": ("sqlite:///x.db?mode=ro", 2, "`?mode=` is not an option"),
    "invalid number": ("sqlite:///x.db?timeout=long", 2, "is not valid"),
    "no answer": ("postgresql+psycopg://u:hidden@127.0.0.1:1/d", 1, "u:***@127.0.0.1"),
}


@pytest.mark.parametrize(("url", "code", "message"), STORES.values(), ids=STORES.keys())
def test_broken_store_gets_an_error(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, url: str, code: int, message: str
) -> None:
    monkeypatch.setenv("SMSWEEP_STORE", url)
    expect(cli, ["ls"], code, message)


def test_foreign_store_file_gets_an_error(cli: Cli, folder: Path) -> None:
    (folder / ".smsweep").mkdir()
    (folder / ".smsweep" / "store.db").write_bytes(b"something else " * 99)
    expect(cli, ["ls"], 1, "move it away")


def netrc_folder(home: Path) -> None:
    (home / ".netrc").mkdir()


def latin_settings(home: Path) -> None:
    folder = home / ".config" / "wandb"
    folder.mkdir(parents=True)
    (folder / "settings").write_bytes(b"[default]\nentity = caf\xe9\n")


def latin_netrc(home: Path) -> None:
    (home / ".netrc").write_bytes(b"machine caf\xe9 login user\n")


HOMES = {
    "a folder for a netrc": (netrc_folder, "WANDB_API_KEY is not set, and netrc and W&B's settings have no key"),
    "a netrc in Latin 1": (latin_netrc, ".netrc: not a valid netrc file: it is not UTF-8 text"),
    "wandb's settings in Latin 1": (latin_settings, "settings: not a valid settings file of wandb"),
}


@pytest.mark.parametrize(("spoil", "message"), HOMES.values(), ids=HOMES.keys())
def test_broken_home_matters_only_for_the_wandb_key(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None], message: str
) -> None:
    home = folder / "home"
    home.mkdir()
    spoil(home)
    for name in ("WANDB_API_KEY", "NETRC", "WANDB_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SMSWEEP_DIR", "~/sweeps")
    (folder / ".smsweepignore").write_text("home\n")
    expect(cli, ["auth"], 2, message)
    assert cli("sweep", "sweep.yaml").code == 0
    assert (home / "sweeps" / "store.db").exists()


def test_agent_exits_if_the_job_folder_cannot_be_created(cli: Cli, folder: Path) -> None:
    (folder / ".smsweep").mkdir()
    (folder / ".smsweep" / "jobs").write_text("a file")
    expect(cli, ["run", "sweep.yaml"], 1, "Not a directory; make it writable")


def test_pipe_as_config_gets_an_error(cli: Cli, folder: Path) -> None:
    os.mkfifo(folder / "pipe.yaml")
    expect(cli, ["run", "pipe.yaml"], 2, "is a pipe or a device; save the config as a file")


def test_deleted_working_folder_gets_an_error(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    (folder / "gone").rmdir()
    expect(cli, ["ls"], 1, "the current folder was deleted; change to an existing folder")


def test_missing_key_is_not_reported_as_a_missing_sweep(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(folder))
    assert "smsweep ls" not in cli("auth").err


def expect(cli: Cli, args: list[str], code: int, message: str) -> None:
    ended = cli(*args)
    assert ended.code == code, ended.err
    assert message in ended.err
    assert "\nTraceback" not in f"\n{ended.err}"  # a traceback of smsweep; a script's traceback is indented
    assert "This is a bug" not in ended.err
