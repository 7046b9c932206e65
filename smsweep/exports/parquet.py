"""Export a sweep as Parquet: the table of the CSV with a type for each column."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from smsweep.exports.contents import METRICS, Contents, json_safe
from smsweep.util import atomic_file

TIMES = ("created_at", "started_at", "ended_at")
WHOLE = ("number", "attempt", "exit_code")
LARGEST = 2**63 - 1  # of an integer column
EXACT = 2**53  # a float represents all integers up to this one

Cast = Callable[[Any], Any]


def write(contents: Contents, path: str, *, force: bool) -> None:
    """Write one row per trial. Raises UsageError if the file exists and force is False, or cannot be written."""
    atomic_file.check_output(Path(path), force=force)
    table = as_table(contents)
    atomic_file.write_output(Path(path), lambda scratch: parquet.write_table(table, scratch), force=force)


def as_table(contents: Contents) -> Any:
    """Return a pyarrow.Table with the columns of the CSV. The schema's metadata has the sweep as JSON."""
    fields, arrays = [], []
    for name in contents.columns:
        values = [row.get(name) for row in contents.rows]
        kind, cast = _kind(name, values)
        arrays.append(pa.array([None if value is None else cast(value) for value in values], type=kind))
        fields.append(pa.field(name, kind))
    about = json.dumps(json_safe(contents.sweep), default=str)
    return pa.table(arrays, schema=pa.schema(fields, metadata={"smsweep.sweep": about}))


def _kind(name: str, values: Sequence[Any]) -> tuple[Any, Cast]:
    """Return the narrowest type of a column that loses no values, and the conversion to it."""
    seen = [value for value in values if value is not None]
    if name in TIMES:
        return pa.timestamp("us", tz="UTC"), datetime.fromisoformat
    kinds = {type(value) for value in seen}
    if kinds == {bool}:
        return pa.bool_(), bool
    if kinds == {int} or (not kinds and name in WHOLE):
        return (pa.int64(), int) if all(abs(value) <= LARGEST for value in seen) else (pa.string(), str)
    is_exact = all(abs(value) <= EXACT for value in seen if type(value) is int)
    if kinds and kinds <= {int, float} and is_exact:
        return pa.float64(), float
    if not kinds and (name == "objective" or name.startswith(METRICS)):
        return pa.float64(), float
    return pa.string(), _text


def _text(value: Any) -> str:
    """Return a value as in the CSV, but without the guard against formulas."""
    if isinstance(value, (list, dict)):
        return json.dumps(json_safe(value), ensure_ascii=False)
    return str(value)
