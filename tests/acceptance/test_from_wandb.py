"""The examples of docs/from-wandb.md work as shown, and the page covers every key of a W&B sweep."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.support import walkthrough
from tests.support.markdown import ROOT, blocks
from tools.environments import oracle

PAGE = ROOT / "docs" / "from-wandb.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.mark.oracle
def test_page_examples_run_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = oracle("wandb").python.parents[1]
    plain = walkthrough.environment(tmp_path)
    active = {**plain, "VIRTUAL_ENV": str(home), "PATH": f"{home / 'bin'}{os.pathsep}{plain['PATH']}"}
    monkeypatch.setattr(walkthrough, "environment", lambda folder: active)
    walkthrough.walk(blocks(PAGE), tmp_path)


def test_page_has_line_for_every_sweep_key() -> None:
    schema = json.loads((ROOT / "smsweep" / "config_files" / "sweep_schema.json").read_text(encoding="utf-8"))
    table = TEXT.partition("## Key by key")[2].partition("\n## ")[0]
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert set(schema["properties"]) <= named
