"""Generated commands and params, the same in every run, and the results of W&B's agent for them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tools.environments import oracle

MACROS = (
    "${env}",
    "${interpreter}",
    "${program}",
    "${args}",
    "${args_no_equals}",
    "${args_no_hyphens}",
    "${args_no_boolean_flags}",
    "${args_json}",
    "${args_json_file}",
    "${args_append_hydra}",
    "${args_override_hydra}",
    "${args_dict}",
)
ITEMS: tuple[Any, ...] = (
    *MACROS,
    "--fixed",
    "--bs=${batch_size}",
    "--cfg=${args_json_file}",
    "bash -c 'python x ${args}'",
    "${batch_size}",
    "${envvar:SET}",
    "--key=${envvar:SET}-${envvar:UNSET}",
    "${envvar:MACRO}",
    "${envvar:lower}",
    "${envvar:}",
    "${}",
    "${",
    "$",
    "",
    3,
    0.5,
    True,
)
ENVIRON = {"SET": "a b", "MACRO": "${args_json}"}
TEXTS = (
    *(
        "",
        " ",
        "a",
        "adam",
        "a b",
        " a",
        "a ",
        "Jäger",
        "🚀",
        "日本",
        "a\tb",
        "a\nb",
        "a\n",
        "\na",
        "a \nb",
        "a\n b",
    ),
    *(
        "'",
        '"',
        "it's",
        'say "x"',
        "\\",
        "a\\b",
        "a: b",
        "a:b",
        "a:",
        ":",
        ":a",
        "a #b",
        "a#b",
        "#a",
        "- a",
        "-",
        "-a",
    ),
    *(
        "--flag",
        "---",
        "--- a",
        "...",
        "...a",
        "?",
        "? a",
        "?a",
        "*a",
        "&a",
        "!a",
        "|",
        ">",
        "%",
        "@a",
        "`a",
        "[a",
        "]",
    ),
    *(
        "{a",
        "}",
        ",",
        "a,b",
        "a[b]",
        "=",
        "<<",
        "~",
        "null",
        "Null",
        "NULL",
        "nUll",
        "true",
        "True",
        "yes",
        "no",
        "on",
    ),
    *(
        "off",
        "y",
        "n",
        "1",
        "01",
        "08",
        "0x1f",
        "0b1",
        "0o7",
        "1_000",
        "1.5",
        "1.",
        ".5",
        ".",
        "1e5",
        "1e-5",
        "1.0e-5",
    ),
    *("1.0e5", "+1", "-1", "+", ".inf", "-.inf", "+.Inf", ".nan", "nan", "inf", "1:30", "1:30:45", "190:20:30.15"),
    *(
        "2024-01-01",
        "2024-1-1",
        "2024-01-01 10:00:00",
        "2024-01-01T10:00:00Z",
        "12:3",
        "\x00",
        "\x07",
        "\x7f",
        "\x85",
    ),
    *(
        "\xa0",
        "\xad",
        "\u2028",
        "a\u2029b",
        "\ufeff",
        "\ufffe",
        "\ue000",
        "\x1b[1m",
        "\r",
        "a\r\nb",
        "x" * 200,
        "ä\nö",
    ),
    *(
        "a'b\nc",
        "a\n\nb",
        "a: b\nc",
        "0",
        "-0",
        "0.0",
        "1__0",
        "_1",
        "1e+5",
        "1.e+5",
        "0x",
        "0b",
        "a\xa0b",
        "a\xadb",
    ),
)
NUMBERS: tuple[Any, ...] = (
    *(0, 1, -3, 10**20, 1.0, 0.0, -0.0, 2.5, 1e-05, 1e5, 1e16, 1e22, 1.5e-7, 3e300, 0.1, 1 / 3, 123456789.123),
    *(float("inf"), float("-inf"), float("nan"), True, False, None),
)
NAMES = (
    "a",
    "lr",
    "opt.lr",
    "batch_size",
    "1",
    "true",
    "null",
    "a b",
    "ä",
    "x: y",
    "no",
    "k" * 130,
    "",
    "-x",
    "a\nb",
    "🚀",
)


def ask(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each case, the argv and the text of the param file of W&B's agent."""
    answers: list[dict[str, Any]] = oracle("wandb").ask(Path(__file__).parent / "ask_wandb.py", cases)
    return answers


def value(rng: random.Random, depth: int = 2) -> Any:
    kind = rng.random()
    if depth and kind < 0.15:
        return [value(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    if depth and kind < 0.3:
        return {rng.choice(NAMES): value(rng, depth - 1) for _ in range(rng.randint(0, 3))}
    return rng.choice(TEXTS) if kind < 0.6 else rng.choice(NUMBERS)


def params(rng: random.Random) -> dict[str, Any]:
    return {name: value(rng) for name in rng.sample(NAMES, rng.randint(0, 4))}


def command(rng: random.Random) -> list[Any]:
    return [rng.choice(ITEMS) for _ in range(rng.randint(0, 6))]
