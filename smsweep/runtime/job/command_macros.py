"""Fill in the macros of W&B's `command` list. The result is an argv, never a shell line.

W&B expands an item only if the whole item is `${name}`. An unknown name expands to nothing. The exception is
`${envvar:NAME}`, which W&B expands anywhere in an item. W&B's documentation promises more, so `warnings` reports
the macros that have no effect.
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
# Variables of a shell, and interpolations of Hydra such as ${now:%H-%M}, are not mistaken macros.
_FOR_OTHERS = re.compile(r"\$\{(?!envvar:)([A-Z0-9_]+\}|[\w.]+:)")


def expand(
    command: Sequence[object] | None,
    program: str | None,
    params: Mapping[str, Any],
    *,
    environ: Mapping[str, str],
    json_file: str,
) -> list[str]:
    """Return the argv that W&B's agent starts for a trial.

    Args:
        command: W&B's `command` list. None or empty means W&B's default.
        program: The sweep's program, or None.
        params: Params by top-level key. A nested group is one argument.
        environ: Variables for `${envvar:NAME}`. A variable that is not set expands to its name.
        json_file: Value of `${args_json_file}`. The caller writes this file.
    """
    macros = _macros(program, params, json_file)
    argv: list[str] = []
    for item in command or DEFAULT:
        text = _ENVVAR.sub(lambda match: environ.get(match.group(1), match.group(1)), str(item))
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
    """Return warnings about a command as a whole. `item_warnings` checks single items.

    Args:
        command: W&B's `command` list. None or empty means W&B's default.
        program: The sweep's program, or None.
        environ: Variables of the job for `${envvar:NAME}`. None skips this check.
    """
    items = [str(item) for item in command or DEFAULT]
    messages = []
    for item in items:
        for name in _ENVVAR.findall(item):
            if environ is not None and name not in environ:
                messages.append(
                    f"command: {item}: {name} is not set, so W&B inserts the name itself; set {name} for the job"
                )
    if "${program}" in items and program is None:
        messages.append("command: ${program} is empty, because the sweep names no program; add `program:`")
    if program is not None and not runs_program(items, program):
        messages.append(f"command: never names the program, so {program} is not run; add ${{program}}")
    if not any(item.startswith("${args") or "envvar" in item for item in items):
        messages.append("command: passes no params; the script gets them only through smsweep.init or wandb.init")
    return messages


def runs_program(command: Sequence[str], program: str) -> bool:
    """Return True if an item is `${program}`, contains the program, or is its module name (`python -m`)."""
    module = (program[:-3] if program.endswith(".py") else program).strip("./").replace("/", ".")
    return any(item == "${program}" or program in item or f".{item}".endswith(f".{module}") for item in command)


def item_warnings(item: str, names: Container[str] = ()) -> list[str]:
    """Return warnings about the macros of an item that W&B does not expand or removes.

    Args:
        item: One item of the `command` list.
        names: Names of the params.
    """
    known = sorted(_macros(None, {}, ""))
    rest = _ENVVAR.sub("", item)
    if rest.startswith("${") and rest.endswith("}"):
        name = rest[2:-1]
        if name.startswith("envvar:"):
            return [f"{item} is removed, because W&B accepts only [A-Z0-9_] in a variable's name"]
        if name in known:
            return []
        if name in names:
            return [f"{item} is removed, because W&B has no macro for one parameter; ${{args}} passes all of them"]
        return [f"{item} is removed, because W&B has no such macro; known: {', '.join(known)}"]
    return [
        f"{macro} is not expanded, because W&B expands only a whole item; make it a separate item"
        for macro in _ANY_MACRO.findall(rest)
        if not _FOR_OTHERS.match(macro)
    ]
