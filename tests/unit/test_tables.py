from __future__ import annotations

from fractions import Fraction

import pytest

from smsweep.util.lazy_registry import LazyTable

TABLE: LazyTable[type] = LazyTable({"fraction": "fractions:Fraction", "broken": "no_such_module:Thing"})


def test_an_entry_is_the_object_at_its_place() -> None:
    assert TABLE["fraction"] is Fraction


def test_asking_what_there_is_imports_nothing() -> None:
    assert "broken" in TABLE
    assert list(TABLE) == ["fraction", "broken"]
    assert len(TABLE) == 2


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="other"):
        TABLE["other"]


def test_a_place_that_is_gone_says_so_when_asked_for() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        TABLE["broken"]
