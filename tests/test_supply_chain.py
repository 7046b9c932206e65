"""What is installed: from files with known hashes, under licences that allow it, and written down."""

from __future__ import annotations

import re

import pytest

from tests import audit
from tests.markdown import ROOT


def test_the_lock_has_the_pins_and_no_others() -> None:
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert list(audit.locked()) == [pin for pin in pins if not pin.startswith("#")]


def test_each_pin_has_the_hash_of_a_file() -> None:
    assert [pin for pin, hashes in audit.locked().items() if not hashes] == []


def test_every_licence_is_a_permissive_one() -> None:
    assert list(audit.wrong_licences(audit.licences())) == []


def test_a_licence_that_is_not_is_told() -> None:
    (problem,) = audit.wrong_licences({"six": "MIT", "readline": "GPL-3.0-or-later"})
    assert problem.startswith("readline is under 'GPL-3.0-or-later'")


def test_the_docs_list_the_licences() -> None:
    page = (ROOT / "docs" / "installation.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| ([a-z0-9-]+) \| ([^|]+) \| [\d.]+ \|$", page, re.M))
    assert listed == audit.licences()


@pytest.mark.slow
@pytest.mark.oracle
def test_an_index_has_the_files_of_the_lock() -> None:
    assert list(audit.wrong_hashes()) == []
