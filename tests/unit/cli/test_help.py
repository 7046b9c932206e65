"""Help and shell completion: fast, complete, and consistent with docs/cli.md."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from smsweep.cli.lazy_group import COMMANDS, GROUPS, PANELS, load_command
from tests.unit.cli.conftest import Cli

DOCS = Path(__file__).parents[3] / "docs" / "cli.md"
NAMES = list(COMMANDS)
HEAVY = {"pydantic", "sqlalchemy", "numpy", "boto3", "docker", "yaml", "rich", "alembic"}

SHARED = ("--dir", "--profile", "--region")  # docs/cli.md describes them once, for all commands


@functools.cache
def flags(name: str) -> frozenset[str]:
    """Return the long flags that a command shows in its help."""
    command = load_command(name)
    shown = [param for param in command.params if not getattr(param, "hidden", False)]
    return frozenset(
        flag for param in shown for flag in (*param.opts, *param.secondary_opts) if flag.startswith("--")
    )


def manual(name: str) -> str:
    """Return the section of docs/cli.md about a command."""
    section = re.search(rf"^## `smsweep {name}\b.*?(?=^## |\Z)", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None
    return section.group()


def modules_after(*arguments: str) -> set[str]:
    """Return the modules that a process has imported after `smsweep` with these arguments."""
    code = (
        f"import sys\nfrom smsweep.cli.main import main\nsys.argv[1:] = {list(arguments)!r}\n"
        "try: main()\nexcept SystemExit: print('modules', *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.partition("modules ")[2].split())


def test_help_imports_no_heavy_package() -> None:
    assert not HEAVY & {name.split(".")[0] for name in modules_after("--help")}


@pytest.mark.parametrize(
    "arguments",
    [
        *(("ls",), ("trials", "x"), ("best", "x"), ("logs", "x/0"), ("why", "x/0"), ("rm", "x"), ("retry", "x")),
        *(("sweep", "none.yaml"), ("plan", "none.yaml"), ("run", "none.yaml"), ("agent", "x"), ("watch", "x")),
        *(("export", "x"), ("completion", "bash")),
    ],
    ids=lambda arguments: arguments[0],
)
def test_local_command_imports_no_package_that_it_does_not_need(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMSWEEP_DIR", str(tmp_path / "store"))
    found = {name.split(".")[0] for name in modules_after(*arguments)}
    assert "smsweep" in found
    assert not {"boto3", "docker", "numpy", "requests", "rich", "starlette", "alembic"} & found


@pytest.mark.parametrize("arguments", [("--help",), ("wandb", "--help")], ids=["smsweep", "wandb"])
def test_help_imports_no_command(arguments: tuple[str, ...]) -> None:
    assert [name for name in modules_after(*arguments) if name.startswith("smsweep.cli.commands.")] == []


def test_help_lists_commands_in_panels_with_whole_summaries(cli: Cli) -> None:
    shown: dict[str, dict[str, str]] = {}
    for line in cli("--help").out.partition("exit.\n\n")[2].partition("Start here")[0].splitlines():
        if line.endswith(":"):
            shown[line[:-1]] = {}
        elif line.strip():
            name, _, summary = line.strip().partition(" ")
            shown[list(shown)[-1]][name] = summary.strip()
    assert shown == PANELS


def test_help_of_a_group_lists_its_commands(cli: Cli) -> None:
    for group, commands in GROUPS.items():
        out = cli(group, "--help").out
        assert dict(re.findall(r"^  (\w+) +(.*)", out.partition("Commands:\n")[2], re.MULTILINE)) == commands


@pytest.mark.parametrize("name", NAMES)
def test_summary_of_a_command_is_the_first_line_of_its_docstring(name: str) -> None:
    assert (load_command(name).help or "").splitlines()[0] == COMMANDS[name]


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_command_ends_with_examples(cli: Cli, name: str) -> None:
    assert f"Examples:\n    smsweep {name}" in cli(*name.split(), "--help").out.replace("source <(", "")


@pytest.mark.parametrize("name", NAMES)
def test_manual_of_a_command_has_an_example_and_all_its_flags(name: str) -> None:
    text, _, examples = manual(name).partition("```")
    text += re.sub("```.*?```", "", f"```{examples}", flags=re.DOTALL)
    named = set(re.findall(r"--[a-z][a-z0-9_-]*", text))
    every = frozenset().union(*map(flags, NAMES))
    assert flags(name) - {"--verbose", "--quiet", "--prior_run", *SHARED} <= named <= every
    assert f"smsweep {name}" in examples


def test_version_is_the_version_of_the_package(cli: Cli) -> None:
    assert re.fullmatch(r"smsweep \d+\.\d+\.\d+\n", cli("--version").out)


@pytest.mark.parametrize("arguments", [(), *((group,) for group in GROUPS)])
def test_missing_command_prints_the_help(cli: Cli, arguments: tuple[str, ...]) -> None:
    ended = cli(*arguments)
    assert ended.code == 2
    assert "Usage: smsweep" in ended.out + ended.err


@pytest.mark.parametrize(
    ("arguments", "suggested"),
    [
        (["trails"], "did you mean smsweep trials"),
        (["lanch"], "smsweep run sweep.yaml"),
        (["dockr"], "smsweep run sweep.yaml --backend docker"),
        (["list"], "use smsweep ls\n"),
        (["ps"], "use smsweep ls\n"),
        (["status"], "use smsweep ls, or smsweep show ID\n"),
        (["status", "abcd1234"], "use smsweep ls, or smsweep show abcd1234\n"),
        (["stop", "abcd1234"], "use smsweep sweep --stop abcd1234\n"),
        (["kill", "-y", "abcd1234"], "use smsweep sweep --cancel abcd1234\n"),
        (["delete"], "use smsweep rm ID\n"),
        (["launch"], "use smsweep run sweep.yaml\n"),
        (["launch-sweep"], "--backend sagemaker"),
        (["login"], "use smsweep auth"),
        (["sync", "abcd1234"], "use smsweep wandb sync abcd1234\n"),
        (["import-wandb"], "smsweep wandb import"),
        (["wandb", "imprt"], "did you mean smsweep wandb import"),
        (["wandb", "agent", "abcd1234"], "use smsweep agent abcd1234\n"),
        (["wandb", "login"], "use smsweep auth"),
    ],
)
def test_unknown_command_gets_suggestions(cli: Cli, arguments: list[str], suggested: str) -> None:
    ended = cli(*arguments)
    assert ended.code == 2
    where, _, advice = ended.err.partition(": no such command; ")
    assert where in (f"error: smsweep {arguments[0]}", f"error: smsweep {' '.join(arguments[:2])}")
    assert suggested in advice


def test_unknown_command_gets_no_far_suggestion(cli: Cli) -> None:
    assert cli("xyzzy").err == "error: smsweep xyzzy: no such command; list the commands with: smsweep --help\n"


def test_letter_of_an_option_has_one_long_name_on_every_command() -> None:
    longs: dict[str, set[str]] = {}
    for name in NAMES:
        for param in load_command(name).params:
            for letter in (flag for flag in param.opts if not flag.startswith("--") and flag.startswith("-")):
                names = {flag for flag in param.opts if flag.startswith("--")}
                longs[letter] = longs.get(letter, names) & names  # aliases of one command do not count
    assert [letter for letter, names in longs.items() if not names] == []
    expected = {"-j": "--parallel", "-d": "--detach", "-f": "--follow", "-y": "--yes"}
    assert {letter: longs[letter] for letter in expected} == {letter: {name} for letter, name in expected.items()}


def test_commands_have_the_options_of_store_and_aws() -> None:
    without = {name: {*SHARED} - flags(name) for name in NAMES}
    assert {name: missing for name, missing in without.items() if missing} == {
        "auth": {"--dir"},
        "emulator": {"--profile", "--region"},
        "completion": {*SHARED},
        "skill": {*SHARED},
    }


@pytest.mark.parametrize("arguments", [("-v", "run", "sweep.yaml"), ("run", "sweep.yaml", "-v")])
def test_verbose_is_accepted_before_and_after_the_command(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert "info: " in cli(*arguments).err


def completions(*words: str) -> list[str]:
    """Return the completions of bash for the last word."""
    environ = {
        "_SMSWEEP_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    command = [sys.executable, "-m", "smsweep.cli.main"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["ret"], ["retry"]),
        (["wan"], ["wandb"]),
        (["wandb", ""], ["import", "sync"]),
        (["wandb", "sy"], ["sync"]),
        (["wandb", "sync", "--ent"], ["--entity"]),
        (["agent", "--par"], ["--parallel"]),
        (["--vers"], ["--version"]),
    ],
)
def test_shell_completes_commands_and_flags(words: list[str], completed: list[str]) -> None:
    assert completions("smsweep", *words) == completed


def test_shell_completes_an_empty_word_with_every_command() -> None:
    assert completions("smsweep", "") == [name for panel in PANELS.values() for name in panel]


@pytest.mark.slow
def test_shell_completes_values_of_an_option() -> None:
    assert completions("smsweep", "run", "--backend", "pro") == ["process"]
    assert completions("smsweep", "trials", "abcd1234", "--state", "f") == ["finished", "failed"]


@pytest.mark.slow
def test_shell_completes_sweep_ids(cli: Cli) -> None:
    sweep_id = cli("sweep", "sweep.yaml").out.strip()
    assert completions("smsweep", "show", sweep_id[:3]) == [sweep_id]
    assert completions("smsweep", "sweep", "--pause", "tin") == ["tiny"]
    assert completions("smsweep", "show", "--dir", "none", "tin") == []
