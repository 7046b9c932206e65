"""Executes a page of the documentation: writes its files, runs its commands, and compares their output.

A block with a file name after its language is that file. A bash or python block is run. A block with another word
there is skipped (tests/test_docs.py lists the reasons). A text block is the output of the block before it: `...`
matches any text, and a line with only `...` matches any lines. Sweeps are named abcd1234, efgh5678 and ijkl9012 in
the order of their creation. Times and spaces can differ.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tests.support import command
from tests.support.markdown import Block

IDS = ("abcd1234", "efgh5678", "ijkl9012")
VARYING = (
    (re.compile(r"\b\d+\.\d+s\b"), "1.0s"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[+.\d:]*"), "2026-01-02T03:04:05"),
    (re.compile(r"(?<![.\w])[0-9a-f]{16,64}\b"), "0123456789abcdef"),
    (re.compile(r"process@\S+"), "process@laptop"),
    (re.compile(r"[ \t]+"), " "),
)
MARK = "@@@ block"
NEW_PYTHON = (sys.executable, "-m", "smsweep.cli.main")
# The same command, which starts faster; see tests/support/command.py. Its server runs as long as this process.
SMSWEEP = (
    (sys.executable, "-I", "-S", command.__file__, f"{tempfile.gettempdir()}/smsweep-commands-{os.getpid()}")
    if sys.platform.startswith("linux")
    else NEW_PYTHON
)


def walk(blocks: Sequence[Block], folder: Path, programs: Path | None = None) -> None:
    """Execute blocks in one shell in the folder. Raises AssertionError if the output differs.

    Args:
        blocks: The blocks.
        folder: The working folder and HOME of the shell.
        programs: The folder of another environment's programs. The shell then gets no variables of this process.
    """
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script(blocks)],
        cwd=folder,
        env=clean_environment(folder, programs)
        if programs
        else environment(folder) | {"PATH": f"{_commands()}{os.pathsep}{environment(folder)['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    printed = {
        int(number): text for number, text in re.findall(rf"{MARK} (\d+)\n(.*?)(?={MARK}|\Z)", done.stdout, re.S)
    }
    assert done.returncode == 0, (
        f"{blocks[len(printed) - 1].place} exited with code {done.returncode}:\n{done.stdout}"
    )
    ids = sweep_ids(folder)
    for index, block in enumerate(blocks):
        if block.language == "text":
            output = plain(printed[index - 1], ids)
            assert re.fullmatch(pattern(block.text), output), f"{block.place}: the actual output is:\n{output}"


@functools.cache
def _commands() -> str:
    """Return a folder that contains a `smsweep` that starts faster; see tests/support/command.py."""
    folder = Path(tempfile.mkdtemp(prefix="smsweep-bin-"))
    atexit.register(shutil.rmtree, folder)
    (folder / "smsweep").write_text(f'#!/bin/sh\nexec {shlex.join(SMSWEEP)} "$@"\n')
    (folder / "smsweep").chmod(0o755)
    return str(folder)


def script(blocks: Sequence[Block]) -> str:
    """Return one shell script that executes all blocks, and prints a marker before each block."""
    parts = ["trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT"]  # ends background processes
    for index, block in enumerate(blocks):
        parts.append(f"echo '{MARK} {index}'")
        if block.is_file:
            parts.append(f"cat > {block.title} <<'END OF FILE'\n{block.text}END OF FILE")
        elif block.language == "bash" and not block.title:
            parts.append(block.text)
        elif block.language == "python" and not block.title:
            parts.append(f"python - <<'END OF FILE'\n{block.text}END OF FILE")
    return "\n".join(parts)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a new user: smsweep on PATH, its own home, no settings."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("SMSWEEP_", "WANDB_", "PYTHON"))
    }
    inherited.pop("VIRTUAL_ENV", None)
    inherited["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**inherited, "HOME": str(folder)}


def clean_environment(folder: Path, programs: Path) -> dict[str, str]:
    """Return the environment of a new account in which the environment of `programs` is active."""
    path = os.pathsep.join([str(programs), "/usr/local/bin", "/usr/bin", "/bin"])
    return {"PATH": path, "HOME": str(folder), "VIRTUAL_ENV": str(programs.parent)}


def sweep_ids(folder: Path) -> list[str]:
    """Return the ids of the folder's sweeps, oldest first."""
    file = folder / ".smsweep" / "store.db"
    if not file.exists():
        return []
    with closing(sqlite3.connect(file)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM sweeps ORDER BY created_at")]


def plain(text: str, ids: Sequence[str] = ()) -> str:
    for ours, documented in zip(ids, IDS, strict=False):
        text = text.replace(ours, documented)
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
