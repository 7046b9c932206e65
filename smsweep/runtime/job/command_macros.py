"""W&B's `command` list with its macros filled in: an argv, never a shell line.

W&B expands an item only when the whole item is `${name}`; a name it does not know expands to nothing. The one
exception is `${envvar:NAME}`, which works anywhere in an item. Its documentation promises more than that, so
`warnings` tells what a command will not do.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from typing import Any

DEFAULT = ("${env}", "${interpreter}", "${program}", "${args}")
ENV = "/usr/bin/env"
INTERPRETER = "python"

_ENVVAR = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")
_ANY_MACRO = re.compile(r"\$\{[^}]*\}")
# A shell's variable, or what Hydra resolves, ${now:%H-%M}: nobody took them for macros of W&B's.
_FOR_OTHERS = re.compile(r"\$\{(?!envvar:)([A-Z0-9_]+\}|[\w.]+:)")


def expand(
    command: Sequence[object] | None,
    program: str | None,
    params: Mapping[str, Any],
    *,
    environ: Mapping[str, str],
    json_file: str,
) -> list[str]:
    """Return the argv that W&B's agent would start for this trial.

    command: None or empty means W&B's default. params: by top-level key; a nested group is one argument.
    environ: where `${envvar:NAME}` looks; a variable that is not set leaves its name. json_file: the path that
    `${args_json_file}` stands for; the caller writes it.
    """
    macros = _macros(program, params, json_file)
    argv: list[str] = []
    for item in command or DEFAULT:
        text = _ENVVAR.sub(lambda found: environ.get(found.group(1), found.group(1)), str(item))
        if text.startswith("${") and text.endswith("}"):
            argv += macros.get(text[2:-1], [])
        else:
            argv.append(text)
    return argv


def _macros(program: str | None, params: Mapping[str, Any], json_file: str) -> dict[str, list[str]]:
    pairs = [f"{name}={value}" for name, value in params.items()]
    return {
        "env": [ENV],
        "interpreter": [INTERPRETER],
        "program": [] if program is None else [program],
        "args": [f"--{pair}" for pair in pairs],
        "args_no_equals": [text for name, value in params.items() for text in (f"--{name}", str(value))],
        "args_no_hyphens": pairs,
        "args_no_boolean_flags": [
            f"--{name}" if value is True else f"--{name}={value}"
            for name, value in params.items()
            if value is not False
        ],
        "args_json": [json.dumps(params)],
        "args_json_file": [json_file],
        "args_dict": list(params),
        "args_append_hydra": [f"+{pair}" for pair in pairs],
        "args_override_hydra": [f"++{pair}" for pair in pairs],
    }


def warnings(
    command: Sequence[object] | None, program: str | None, *, environ: Mapping[str, str] | None = None
) -> list[str]:
    """Say what a whole command lacks; empty when nothing. `item_warnings` looks at each item for itself.

    environ: where the job's `${envvar:NAME}` will look; None to leave those unjudged.
    """
    items = [str(item) for item in command or DEFAULT]
    found = []
    for item in items:
        for name in _ENVVAR.findall(item):
            if environ is not None and name not in environ:
                found.append(f"command: {item}: {name} is not set, so W&B puts its name there; set it for the job")
    if "${program}" in items and program is None:
        found.append("command: ${program} stands for nothing, because the sweep names no program; add `program:`")
    if program is not None and not runs_program(items, program):
        found.append(f"command: never names the program, so {program} is not run; add ${{program}}")
    if not any(item.startswith("${args") or "envvar" in item for item in items):
        found.append("command: passes no params; the script gets them only through smsweep.init or wandb.init")
    return found


def runs_program(command: Sequence[str], program: str) -> bool:
    """Tell whether an item stands for the program or names it, maybe as a module for `python -m`."""
    module = (program[:-3] if program.endswith(".py") else program).strip("./").replace("/", ".")
    return any(item == "${program}" or program in item or f".{item}".endswith(f".{module}") for item in command)


def item_warnings(item: str, names: Container[str] = ()) -> list[str]:
    """Say which macros of an item stay as they are or vanish, although it looks as if they did not.

    names: of the params.
    """
    known = sorted(_macros(None, {}, ""))
    rest = _ENVVAR.sub("", item)
    if rest.startswith("${") and rest.endswith("}"):
        name = rest[2:-1]
        if name.startswith("envvar:"):
            return [f"{item} vanishes, because W&B knows only [A-Z0-9_] in a variable's name"]
        if name in known:
            return []
        if name in names:
            return [f"{item} vanishes, because W&B has no macro for one parameter; ${{args}} passes them all"]
        return [f"{item} vanishes, because W&B has no such macro; known: {', '.join(known)}"]
    return [
        f"{macro} stays as it is, because W&B expands only a whole item; make it an item of its own"
        for macro in _ANY_MACRO.findall(rest)
        if not _FOR_OTHERS.match(macro)
    ]
