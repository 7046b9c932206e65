"""The table of commands, and a command group that imports the module of a command only when that command runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from smsweep.cli.options import shared_options
from smsweep.errors import UsageError

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"]}
# Panel of `smsweep --help` -> command -> summary. The summary is the first line of the command's docstring.
PANELS = {
    "Run": {
        "run": "Create a sweep and run its trials.",
        "sweep": "Create a sweep, or pause, resume, stop or cancel one.",
        "agent": "Run trials of a sweep until none is left.",
        "plan": "Show the trials that a sweep will run; start nothing.",
        "reproduce": "Run an ended trial again and compare the results.",
        "slurm": "Print or submit a SLURM job array that runs a sweep.",
        "publish": "Invite agents to a sweep through an SQS queue.",
    },
    "Watch": {
        "watch": "Follow a sweep until it has ended.",
        "ls": "List sweeps, newest first.",
        "show": "Show the details of a sweep or a trial.",
        "trials": "List the trials of a sweep.",
        "best": "Show the best trial and its params.",
        "why": "Explain why a trial was stopped, failed, or waits.",
        "diff": "Compare two trials or two sweeps.",
        "logs": "Print the log of a trial.",
        "ui": "Show and control sweeps in a browser.",
    },
    "Manage": {
        "agents": "List the agents of all machines, or drain, stop or resize one.",
        "set": "Change the config of a sweep while it runs.",
        "retry": "Queue failed or stopped trials again.",
        "enqueue": "Queue a trial with params that you choose.",
        "confirm": "Repeat the best trials with new seeds.",
        "rm": "Remove trials or whole sweeps.",
        "prune": "Delete models and checkpoints of ended trials.",
        "recover": "Rebuild a lost sweep from its jobs.",
        "doctor": "Check that this machine has what sweeps need.",
        "verify": "Check what smsweep assumes about a backend.",
        "completion": "Print a shell completion script.",
        "mcp": "Serve tools with limits to coding agents (MCP).",
        "skill": "Print instructions for coding agents.",
    },
    "Share": {
        "export": "Export the trials of a sweep to a file or another tool.",
        "report": "Write a sweep as one HTML file that opens offline.",
        "wandb": "Import sweeps from W&B; upload offline W&B runs.",
    },
    "SageMaker": {
        "auth": "Store the W&B key where training jobs can read it.",
        "iam": "Print the IAM policies that sweeps need.",
        "emulator": "Serve the SageMaker training API on this machine.",
    },
}
# Group -> subcommand -> summary.
GROUPS = {
    "wandb": {
        "import": "Create a sweep from a sweep on W&B's server.",
        "sync": "Upload the offline W&B runs of a sweep.",
    },
}
# Function of a command -> module in smsweep.cli.commands, if the module has another name.
MODULES = {
    "plan": "run",
    "slurm": "agent",
    "publish": "agent",
    "ls": "show",
    "best": "trials",
    "logs": "show",
    "why": "show",
    "reproduce": "diff",
    "set": "change",
    "enqueue": "confirm",
    "rm": "manage",
    "prune": "manage",
    "retry": "manage",
    "recover": "manage",
    "doctor": "setup",
    "completion": "setup",
    "skill": "setup",
    "auth": "setup",
    "iam": "setup",
    "ui": "serve",
    "emulator": "serve",
    "mcp": "serve",
    "export": "share",
    "report": "share",
    "wandb_import": "share",
    "wandb_sync": "share",
}
# Every command that runs something, by its full name such as "wandb sync" -> summary.
COMMANDS = {
    **{name: summary for panel in PANELS.values() for name, summary in panel.items() if name not in GROUPS},
    **{f"{group} {name}": summary for group, names in GROUPS.items() for name, summary in names.items()},
}

# A name that users of other tools type -> what to use instead. The argument of the user replaces ID.
HINTS = {
    **dict.fromkeys(("list", "ps", "sweeps", "queue", "projects"), "smsweep ls"),
    "status": "smsweep ls, or smsweep show ID",
    **dict.fromkeys(("describe", "inspect", "info", "get"), "smsweep show ID"),
    **dict.fromkeys(("runs", "jobs", "history"), "smsweep trials ID"),
    **dict.fromkeys(("log", "tail"), "smsweep logs ID -f"),
    **dict.fromkeys(("top", "follow", "monitor", "attach"), "smsweep watch ID"),
    "stop": "smsweep sweep --stop ID",
    **dict.fromkeys(("kill", "cancel", "terminate", "abort"), "smsweep sweep --cancel ID"),
    "pause": "smsweep sweep --pause ID",
    **dict.fromkeys(("resume", "continue"), "smsweep sweep --resume ID, then smsweep agent ID"),
    "start": "smsweep run sweep.yaml, or smsweep agent ID for an existing sweep",
    **dict.fromkeys(("launch", "submit", "exec", "up"), "smsweep run sweep.yaml"),
    **dict.fromkeys(("create", "new"), "smsweep sweep sweep.yaml"),
    **dict.fromkeys(("delete", "remove", "down"), "smsweep rm ID"),
    **dict.fromkeys(("rerun", "repeat", "restore"), "smsweep reproduce ID/N"),
    "compare": "smsweep diff A B",
    **dict.fromkeys(("dryrun", "dry-run", "validate", "check"), "smsweep plan sweep.yaml"),
    **dict.fromkeys(("download", "pull", "artifact"), "smsweep best ID --download DIR"),
    **dict.fromkeys(("web", "dashboard", "server", "serve", "open"), "smsweep ui"),
    **dict.fromkeys(("docker", "docker-run"), "smsweep run sweep.yaml --backend docker"),
    **dict.fromkeys(("local", "process"), "smsweep run sweep.yaml --backend process"),
    **dict.fromkeys(("sagemaker", "launch-sweep"), "smsweep run sweep.yaml --backend sagemaker --job job.yaml"),
    **dict.fromkeys(("launch-agent", "controller", "scheduler", "sweep-scheduler"), "smsweep agent ID"),
    "login": "smsweep auth to store the W&B key in AWS, or wandb login for this machine",
    "init": "smsweep sweep sweep.yaml; smsweep needs no init",
    **dict.fromkeys(
        ("offline", "online", "enabled", "disabled"), "the variable WANDB_MODE, such as WANDB_MODE=offline"
    ),
    "sync": "smsweep wandb sync ID",
    "import": "smsweep wandb import ENTITY/PROJECT/ID",
    "help": "smsweep --help",
    "version": "smsweep --version",
}
ID = re.compile(r"\bID\b")


class LazyGroup(TyperGroup):
    """A command group that knows names and summaries, and imports the module of a command when that command runs.

    Args:
        panels: Panel -> command -> summary (default: the commands of `smsweep`).
        path: What comes before the command in its full name, such as "wandb "; "" for `smsweep`.
        options: Passed to TyperGroup.
    """

    def __init__(
        self, *, panels: Mapping[str, Mapping[str, str]] = PANELS, path: str = "", **options: Any
    ) -> None:
        super().__init__(**options)
        self._panels = panels
        self._path = path
        self._unloaded = {name for commands in panels.values() for name in commands}
        for commands in panels.values():
            for name, summary in commands.items():
                self.commands[name] = TyperCommand(name, help=summary)  # for help and completion; never runs

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section per panel, with aligned summaries."""
        width = max(map(len, self.commands))
        for panel, commands in self._panels.items():
            with formatter.section(panel):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in commands.items()])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return name, command and remaining arguments; import the command. Fail with suggestions if unknown."""
        name = args[0]
        if name not in self.commands and not ctx.resilient_parsing:
            if name.startswith("-"):
                ctx.fail(f"{name} is not an option of {ctx.command_path}")
            advice = self._advice(name, [arg for arg in args[1:] if not arg.startswith("-")])
            raise UsageError(f"{ctx.command_path} {name}: no such command; {advice}")
        if name in self._unloaded:
            self.commands[name] = load_command(f"{self._path}{name}")
            self._unloaded.remove(name)
        return super().resolve_command(ctx, args)

    def _advice(self, wrong: str, arguments: list[str]) -> str:
        """Return what to use instead of an unknown command.

        Args:
            wrong: The unknown command.
            arguments: The arguments after the command.
        """
        commands = {name.rpartition(" ")[2]: f"smsweep {name}" for name in reversed(COMMANDS)}
        hints = {name: hint for name, hint in HINTS.items() if name not in self.commands}
        known = {**commands, **hints, **{name: f"smsweep {self._path}{name}" for name in self.commands}}
        if self._path and wrong in COMMANDS:  # such as `smsweep wandb agent`
            return f"use {' '.join([commands[wrong], *arguments])}"
        if wrong in hints:
            return f"use {ID.sub(lambda placeholder: arguments[0] if arguments else placeholder[0], hints[wrong])}"
        close = [known[match] for match in get_close_matches(wrong, known)]
        if not close:
            return "list the commands with: smsweep --help"
        return f"did you mean {', or '.join(dict.fromkeys(close))}?"


def load_command(name: str) -> Any:
    """Import the module of a command and return its click command.

    Args:
        name: A full name, such as "run", "wandb" or "wandb sync".
    """
    if name in GROUPS:
        return LazyGroup(
            name=name,
            help=next(panel[name] for panel in PANELS.values() if name in panel),
            panels={"Commands": GROUPS[name]},
            path=f"{name} ",
            rich_markup_mode=None,
            no_args_is_help=True,
            context_settings=CONTEXT_SETTINGS,
        )
    function_name = name.replace(" ", "_")
    module = import_module(f"smsweep.cli.commands.{MODULES.get(function_name, function_name)}")
    lines = getattr(module, f"{function_name.upper()}_EXAMPLES").strip().splitlines()
    examples = "\n".join(f"  {line}" for line in lines)
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    add = app.command(
        name.rpartition(" ")[2], epilog=f"\b\nExamples:\n{examples}", context_settings=CONTEXT_SETTINGS
    )
    add(getattr(module, function_name))
    command = typer.main.get_command(app)
    command.params += shared_options(name)
    return command
