from __future__ import annotations

from fractions import Fraction

import pytest

from smsweep.util.plugins import LazyTable

TABLE: LazyTable[type] = LazyTable({"fraction": "fractions:Fraction", "broken": "no_such_module:Thing"})


def test_lookup_imports_the_object() -> None:
    assert TABLE["fraction"] is Fraction


def test_membership_and_iteration_import_nothing() -> None:
    assert "broken" in TABLE
    assert list(TABLE) == ["fraction", "broken"]
    assert len(TABLE) == 2


def test_unknown_name_raises_key_error() -> None:
    with pytest.raises(KeyError, match="other"):
        TABLE["other"]


def test_missing_module_raises_at_first_use() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        TABLE["broken"]
