"""What scripts hand to `log`, brought down to plain values: numbers, bools, texts, None."""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsweep.runtime.script.records import Value

MAX_INT = 2**63  # beyond it databases cannot follow; such numbers become floats


def flatten(data: Mapping[object, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield name and value, a nested dict's as "a.b"."""
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, name + ".")
        else:
            yield name, value


def plain(value: object) -> Value:
    """Return the value itself, or what it stands for: `.item()` of a numpy or torch scalar, the value of an Enum.

    Raises TypeError, or whatever the value itself raises, when it is no scalar.
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
    raise TypeError(f"not a number, text, bool or None: {type(value).__name__}")


def _is_enum(value: object) -> bool:
    return hasattr(type(value), "__members__")
