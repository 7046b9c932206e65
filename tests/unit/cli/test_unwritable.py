"""Commands in a folder that cannot be written: reading commands work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.unit.cli.conftest import Cli

LOOKS = (
    "ls",
    "show {}",
    "show {}/0",
    "trials {}",
    "best {}",
    "why {}/0",
    "logs {}/0",
    "export {}",
    "diff {}/0 {}/1",
)


def test_reading_commands_work_in_an_unwritable_folder(
    cli: Cli, folder: Path, ran: str, protect: Callable[[Path], None]
) -> None:
    before = [cli(*look.format(ran, ran).split()) for look in LOOKS]
    protect(folder / ".smsweep")
    assert [cli(*look.format(ran, ran).split()) for look in LOOKS] == before
    assert {ended.code for ended in before} == {0}


def test_writing_commands_fail_in_an_unwritable_folder(
    cli: Cli, folder: Path, ran: str, protect: Callable[[Path], None]
) -> None:
    protect(folder / ".smsweep")
    ended = cli("sweep", "--resume", ran)
    assert ended.code == 1
    assert "cannot be written" in ended.err
