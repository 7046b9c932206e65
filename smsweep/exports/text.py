"""Export a sweep as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

from smsweep.core.json_documents import Row
from smsweep.exports.contents import WANDB_COLUMNS, Contents
from smsweep.util.terminal_text import clean

# Spreadsheets execute cells with these first characters; some accept the full-width ones.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def as_csv(contents: Contents) -> str:
    """Return the trials as CSV."""
    return write_csv(contents.columns, contents.rows)


def as_json(contents: Contents) -> str:
    """Return the trials as JSON."""
    return json.dumps(json_safe(contents.data), indent=2, default=str) + "\n"


def as_wandb_csv(contents: Contents) -> str:
    """Return the trials as CSV in W&B's own columns."""
    rows = contents.wandb_rows
    return write_csv(list(dict.fromkeys((*WANDB_COLUMNS, *(name for row in rows for name in row)))), rows)


def write_csv(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Return rows as CSV text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, columns))
    writer.writerows([csv_cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def csv_cell(value: object) -> object:
    """Return the content of a cell: no control characters or formulas; lists and mappings as JSON."""
    if isinstance(value, (list, dict)):
        value = json.dumps(json_safe(value), ensure_ascii=False)
    if not isinstance(value, str):
        return value
    text = "\n".join(map(clean, value.split("\n")))
    return f"'{text}" if text.lstrip(" \n").startswith(FORMULA) else text


def json_safe(value: Any) -> Any:
    """Return a value with "NaN", "Infinity" and "-Infinity" as text, because JSON cannot represent them."""
    if isinstance(value, dict):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
