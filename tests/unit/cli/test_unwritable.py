"""Verbs on somebody else's folder, or on a backup that cannot be written: what only looks works."""

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


def test_what_only_looks_works(cli: Cli, folder: Path, ran: str, protect: Callable[[Path], None]) -> None:
    before = [cli(*look.format(ran, ran).split()) for look in LOOKS]
    protect(folder / ".smsweep")
    assert [cli(*look.format(ran, ran).split()) for look in LOOKS] == before
    assert {ended.code for ended in before} == {0}


def test_what_changes_something_says_why_it_cannot(
    cli: Cli, folder: Path, ran: str, protect: Callable[[Path], None]
) -> None:
    protect(folder / ".smsweep")
    ended = cli("sweep", "--resume", ran)
    assert ended.code == 1
    assert "cannot be written" in ended.err
