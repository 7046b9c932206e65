"""`smsweep completion`: the script that makes a shell complete smsweep's verbs and flags."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]  # used by typer's own --show-completion

from smsweep.cli.main import COMPLETE_VAR
from smsweep.cli.options import Json
from smsweep.cli.output import answer, answer_json

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


def completion(shell: Annotated[Shell, typer.Argument(help="The shell you use.")], as_json: Json = False) -> None:
    """Print a shell's completion script."""
    script = get_completion_script(
        prog_name="smsweep",
        complete_var=COMPLETE_VAR,
        shell=shell.value,  # a name; nothing is started # nosec B604
    )
    answer_json({"shell": shell.value, "script": script}) if as_json else answer(script)
