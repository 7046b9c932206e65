"""Run the skill page for coding agents as shown."""

from __future__ import annotations

from pathlib import Path

from tests.support.markdown import ROOT, blocks
from tests.support.walkthrough import walk


def test_skill_page_works_as_shown(tmp_path: Path) -> None:
    walk(blocks(ROOT / "smsweep" / "cli" / "skill.md"), tmp_path)
