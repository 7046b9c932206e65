"""`smsweep completion`: the script that makes a shell complete smsweep's verbs and flags."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]  # used by typer's own --show-completion

from smsweep.cli.output import answer

EXAMPLES = """
source <(smsweep completion bash)
smsweep completion zsh > ~/.zfunc/_smsweep
smsweep completion fish > ~/.config/fish/completions/smsweep.fish
"""

COMPLETE_VAR = "_SMSWEEP_COMPLETE"  # set by that script when it asks for completions


class Shell(str, Enum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"
    PWSH = "pwsh"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell you use.")]) -> None:
    """Print a shell's completion script."""
    answer(get_completion_script(prog_name="smsweep", complete_var=COMPLETE_VAR, shell=shell.value))
