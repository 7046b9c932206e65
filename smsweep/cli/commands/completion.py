"""`smsweep completion`: print the script for shell completion of commands and flags."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]  # used by typer's own --show-completion

from smsweep.cli.main import COMPLETE_VAR
from smsweep.cli.options import Json
from smsweep.cli.output import print_json, print_result

EXAMPLES = """
source <(smsweep completion bash)
smsweep completion zsh > ~/.zfunc/_smsweep
smsweep completion fish > ~/.config/fish/completions/smsweep.fish
"""


class Shell(str, Enum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"
    PWSH = "pwsh"


def completion(shell: Annotated[Shell, typer.Argument(help="Your shell.")], as_json: Json = False) -> None:
    """Print a shell completion script."""
    script = get_completion_script(
        prog_name="smsweep",
        complete_var=COMPLETE_VAR,
        shell=shell.value,  # a name; no shell starts # nosec B604
    )
    print_json({"shell": shell.value, "script": script}) if as_json else print_result(script)
