"""Convert the values that scripts log to plain values: numbers, bools, strings, None."""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsweep.runtime.script.records import Value

MAX_INT = 2**63  # databases store no larger integers; such numbers become floats


def flatten(data: Mapping[object, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield names and values. Nested dicts become "a.b"."""
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, name + ".")
        else:
            yield name, value


def plain(value: object) -> Value:
    """Return a scalar as a plain value: the item of a numpy or torch scalar, the value of an Enum.

    Raises:
        TypeError: If the value is not a scalar. The value itself may raise other exceptions.
    """
    if value is None or value is True or value is False:
        return value
    if type(value) in (float, str):
        return value  # type: ignore[return-value]  # mypy does not follow type()
    if isinstance(value, str) and not _is_enum(value):
        return str(value)
    if _is_enum(value):
        return plain(value.value)  # type: ignore[attr-defined]  # enums have it
    if isinstance(value, int):
        return int(value) if abs(value) < MAX_INT else float(value)
    if isinstance(value, float):
        return float(value)
    item = getattr(value, "item", None)
    if callable(item):
        inner = item()
        if isinstance(inner, (bool, int, float, str)):
            return plain(inner)
    elif hasattr(value, "__float__"):  # Decimal, Fraction
        return float(value)
    raise TypeError(f"not a number, string, bool or None: {type(value).__name__}")


def _is_enum(value: object) -> bool:
    return hasattr(type(value), "__members__")
