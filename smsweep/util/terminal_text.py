"""Text on terminals: only printable characters of scripts; Jupyter's output; the log level `note`."""

from __future__ import annotations

import logging
import re
import sys
import unicodedata
from collections.abc import Callable
from typing import Any

ANSI = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # operating system commands: titles, links
    r"|[\x1b\x9b][\[\]()#;?]*(?:\d{1,4}(?:;\d{0,4})*)?[0-9A-ORZcf-nqry=><~]"  # colours, cursor
)
NOTE = 25


def clean(text: str) -> str:
    """Remove ANSI sequences, and replace other control characters by their escapes (`\\n`, `\\x07`, `\\u202e`)."""
    if text.isprintable():
        return text
    return "".join(map(_visible, ANSI.sub("", text)))


def counted(n: int, unit: str) -> str:
    """Return a number with its unit: `1 trial`, `2 trials`. The plural of the last word of `unit` ends with s."""
    return f"{n} {unit}" if n == 1 else f"{n} {unit}s"


def with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return a JSON value with each text replaced by `change(text)`. Keys of mappings are not changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: with_texts(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [with_texts(item, change) for item in value]
    return value


def _visible(character: str) -> str:
    # Not printable: control characters, format characters (bidi overrides), surrogates, line separators.
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")


def is_kernel() -> bool:
    """Return True if this process is a Jupyter kernel, which can display HTML and update it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


logging.addLevelName(NOTE, "note")


def human_size(n_bytes: int) -> str:
    """Return a size in a readable form, such as `1.2 GiB`."""
    size = float(n_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
