"""Run every answer of docs/faq.md."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

from tests.support.markdown import ROOT, Block, blocks
from tests.support.walkthrough import walk

ANSWERS = {
    question: list(group) for question, group in groupby(blocks(ROOT / "docs/faq.md"), lambda block: block.section)
}


@pytest.mark.parametrize("shown", [pytest.param(shown, id=question) for question, shown in ANSWERS.items()])
def test_answer_works_as_shown(shown: list[Block], tmp_path: Path) -> None:
    walk(shown, tmp_path)
