"""Help: quick, with examples, and what docs/cli.md says."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from smsweep.cli.lazy_group import COMMANDS, load_command
from tests.unit.cli.conftest import Cli

DOCS = Path(__file__).parents[3] / "docs" / "cli.md"
NAMES = list(COMMANDS)
HEAVY = {"pydantic", "sqlalchemy", "numpy", "boto3", "docker", "yaml", "rich", "alembic"}


@functools.cache
def flags(verb: str) -> frozenset[str]:
    """Return the long flags that a verb shows in its help."""
    command = load_command(verb)
    shown = [param for param in command.params if not getattr(param, "hidden", False)]
    return frozenset(flag for param in shown for flag in param.opts if flag.startswith("--"))


def manual(verb: str) -> str:
    """Return the section of docs/cli.md about a verb."""
    section = re.search(rf"^## `smsweep {verb}\b.*?(?=^## |\Z)", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None
    return section.group()


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom smsweep.cli.main import main\nsys.argv[1:] = ['--help']\n"
        "try: main()\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert not HEAVY & {name.split(".")[0] for name in said.split()}


def test_help_lists_every_verb_with_an_uncut_summary(cli: Cli) -> None:
    out = cli("--help").out
    assert "..." not in out.partition("Commands:")[2]
    assert [line.split()[0] for line in out.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()] == NAMES


@pytest.mark.parametrize("verb", NAMES)
def test_summary_of_a_command_is_the_first_line_of_its_docstring(verb: str) -> None:
    assert (load_command(verb).help or "").splitlines()[0] == COMMANDS[verb]


@pytest.mark.parametrize("verb", NAMES)
def test_help_of_a_verb_ends_with_examples(cli: Cli, verb: str) -> None:
    assert f"Examples:\n    smsweep {verb}" in cli(verb, "--help").out.replace("source <(", "")


@pytest.mark.parametrize("verb", NAMES)
def test_the_manual_names_a_verb_with_an_example_and_all_its_flags(verb: str) -> None:
    told, _, examples = manual(verb).partition("```")
    told += re.sub("```.*?```", "", f"```{examples}", flags=re.DOTALL)
    named = set(re.findall(r"--[a-z][a-z_-]*", told))
    every = frozenset().union(*map(flags, NAMES))
    assert flags(verb) - {"--verbose", "--quiet", "--prior_run"} <= named <= every
    assert f"smsweep {verb}" in examples


def test_version_is_the_packages_own(cli: Cli) -> None:
    assert re.fullmatch(r"smsweep \d+\.\d+\.\d+\n", cli("--version").out)


def test_no_verb_is_the_help(cli: Cli) -> None:
    ended = cli()
    assert ended.code == 2
    assert "Commands:" in ended.out + ended.err


@pytest.mark.parametrize("place", [("-v", "run", "sweep.yaml"), ("run", "sweep.yaml", "-v")])
def test_verbose_may_stand_before_or_after_the_verb(cli: Cli, place: tuple[str, ...]) -> None:
    assert "info: " in cli(*place).err


def completions(*words: str) -> list[str]:
    """Return what bash would offer for the last word."""
    environ = {
        "_SMSWEEP_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    command = [sys.executable, "-m", "smsweep.cli.main"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.split()


def test_a_shell_can_complete_verbs() -> None:
    assert completions("smsweep", "ret") == ["retry"]


def test_a_shell_can_complete_flags() -> None:
    assert completions("smsweep", "agent", "--par") == ["--parallel"]


@pytest.mark.slow
def test_a_shell_can_complete_words_of_a_few() -> None:
    assert completions("smsweep", "run", "--backend", "pro") == ["process"]
    assert completions("smsweep", "trials", "abcd1234", "--state", "f") == ["finished", "failed"]


@pytest.mark.slow
def test_a_shell_can_complete_sweeps(cli: Cli) -> None:
    sweep_id = cli("sweep", "sweep.yaml").out.strip()
    assert completions("smsweep", "show", sweep_id[:3]) == [sweep_id]
