"""A command group that loads a command's module only when that command runs, because modules are slow to load."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"]}
# Command -> summary, in the order of `smsweep --help`. The summary is the first line of the command's docstring.
COMMANDS = {
    "run": "Create a sweep and run its trials.",
    "sweep": "Create a sweep, or pause, resume, stop, cancel one.",
    "agent": "Run trials of a sweep until none is left.",
    "watch": "Watch a sweep until it has ended.",
    "plan": "Show what a sweep would run; nothing is started.",
    "ls": "List sweeps, newest first.",
    "show": "Show all about a sweep, or about one trial.",
    "trials": "List trials: state, objective, params.",
    "best": "Show the best trial and its params.",
    "why": "Say why a trial was stopped, failed, or waits.",
    "diff": "Compare two trials or two sweeps.",
    "reproduce": "Run an ended trial again, and compare what it reports.",
    "logs": "Print what a trial's script wrote.",
    "export": "Write all trials for other programs.",
    "report": "Write a sweep as one HTML file that opens offline.",
    "ui": "Show and steer sweeps in a browser, live.",
    "retry": "Have trials run again, with the same params.",
    "rm": "Take out trials or delete whole sweeps.",
    "recover": "Rebuild a sweep whose store was lost from its jobs.",
    "slurm": "Print the batch script of a SLURM job array.",
    "publish": "Invite agents to a sweep over a queue.",
    "import-wandb": "Create a sweep from one of W&B's, its runs as prior ones.",
    "wandb-sync": "Upload a sweep's offline W&B runs, by `wandb sync`.",
    "auth": "Put the W&B key where training jobs can fetch it.",
    "iam": "Print the IAM policies that sweeps need.",
    "doctor": "Check what sweeps need on this machine.",
    "endpoint": "Serve SageMaker's training API here.",
    "completion": "Print a shell's completion script.",
}


class LazyGroup(TyperGroup):
    """The commands of COMMANDS. `--help` and completion of command names load none of their modules."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.commands = _LazyCommands({**dict.fromkeys(COMMANDS), **self.commands})

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


class _LazyCommands(dict[str, Any]):
    """Maps a command's name to its click command, or to None until `get` loads it."""

    def get(self, name: str, default: Any = None) -> Any:
        if name in self and self[name] is None:
            self[name] = load_command(name)
        return super().get(name, default)


def load_command(name: str) -> Any:
    """Import a command's module and return its click command."""
    function_name = name.replace("-", "_")
    module = import_module(f"smsweep.cli.commands.{function_name}")
    examples = "\n".join(f"  {line}" for line in module.EXAMPLES.strip().splitlines())
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    add = app.command(name, epilog=f"\b\nExamples:\n{examples}", context_settings=CONTEXT_SETTINGS)
    add(getattr(module, function_name))
    return typer.main.get_command(app)
