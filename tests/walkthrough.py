"""Does what a page shows: writes its files, runs its commands, compares what they print.

A block with a file's name after its language is that file. A bash or python block is run; with any other word
there, it is passed over (tests/test_docs.py says why). A text block is what the one before it prints: `...` stands
for anything, a line of it for any lines; sweeps are called abcd1234, efgh5678, ijkl9012 in the order they were
made; times and blanks may differ.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tests.markdown import Block

IDS = ("abcd1234", "efgh5678", "ijkl9012")
VARYING = (
    (re.compile(r"\b\d+\.\d+s\b"), "1.0s"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[+.\d:]*"), "2026-01-02T03:04:05"),
    (re.compile(r"(?<![.\w])[0-9a-f]{16,64}\b"), "0123456789abcdef"),
    (re.compile(r"process@\S+"), "process@laptop"),
    (re.compile(r"[ \t]+"), " "),
)
MARK = "@@@ block"


def walk(shown: Sequence[Block], folder: Path) -> None:
    """Do all that the blocks show, in one shell in the folder. Raises AssertionError at what is not so."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script(shown)],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    printed = {
        int(number): text for number, text in re.findall(rf"{MARK} (\d+)\n(.*?)(?={MARK}|\Z)", done.stdout, re.S)
    }
    assert done.returncode == 0, f"{shown[len(printed) - 1].place} ended with {done.returncode}:\n{done.stdout}"
    ids = sweep_ids(folder)
    for index, block in enumerate(shown):
        if block.language == "text":
            said = plain(printed[index - 1], ids)
            assert re.fullmatch(pattern(block.text), said), f"{block.place} is in truth:\n{said}"


def script(shown: Sequence[Block]) -> str:
    """Return one shell script that does it all and says before each block which it is."""
    parts = ["trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT"]  # what a block leaves in the background
    for index, block in enumerate(shown):
        parts.append(f"echo '{MARK} {index}'")
        if block.is_file:
            parts.append(f"cat > {block.title} <<'END OF FILE'\n{block.text}END OF FILE")
        elif block.language == "bash" and not block.title:
            parts.append(block.text)
        elif block.language == "python" and not block.title:
            parts.append(f"python - <<'END OF FILE'\n{block.text}END OF FILE")
    return "\n".join(parts)


def environment(folder: Path) -> dict[str, str]:
    """Return a person's environment: smsweep on PATH, a home of its own, no settings."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("SMSWEEP_", "WANDB_", "PYTHON"))
    }
    kept.pop("VIRTUAL_ENV", None)
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "HOME": str(folder)}


def sweep_ids(folder: Path) -> list[str]:
    """Return the sweeps made in the folder, oldest first."""
    file = folder / ".smsweep" / "store.db"
    if not file.exists():
        return []
    with closing(sqlite3.connect(file)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM sweeps ORDER BY created_at")]


def plain(text: str, ids: Sequence[str] = ()) -> str:
    for ours, shown in zip(ids, IDS, strict=False):
        text = text.replace(ours, shown)
    for varying, fixed in VARYING:
        text = varying.sub(fixed, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())


def pattern(expected: str) -> str:
    lines = []
    for line in plain(expected).splitlines():
        if line == "...":
            lines.append(r"(?:.*\n)*?.*")
        else:
            lines.append(".*?".join(re.escape(part) for part in line.split("...")))
    return "\n".join(lines)
