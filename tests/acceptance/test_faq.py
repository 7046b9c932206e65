"""Every answer of docs/faq.md does what it says."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

from tests.markdown import ROOT, Block, blocks
from tests.walkthrough import walk

ANSWERS = {
    question: list(group) for question, group in groupby(blocks(ROOT / "docs/faq.md"), lambda block: block.section)
}


@pytest.mark.parametrize("shown", [pytest.param(shown, id=question) for question, shown in ANSWERS.items()])
def test_an_answer_does_what_it_shows(shown: list[Block], tmp_path: Path) -> None:
    walk(shown, tmp_path)
