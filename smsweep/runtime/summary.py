"""The run's summary: the last value of each metric, and what the script says itself."""

from __future__ import annotations

from collections.abc import Mapping

from smsweep.runtime.config import as_mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


class Summary(Mapping):  # type: ignore[type-arg]  # Mapping[str, Any] needs Python 3.9
    """A mapping with attribute access, as `wandb.summary` is; a value the script sets is reported at once."""

    _values: dict[str, Any]
    _report: Callable[[Mapping[str, Any]], None]

    def __init__(self, report: Callable[[Mapping[str, Any]], None]) -> None:
        self.__dict__.update(_values={}, _report=report)  # past __setattr__

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __getattr__(self, key: str) -> Any:
        try:
            return self.__dict__["_values"][key]
        except KeyError:
            raise AttributeError(f"summary has no {key!r}; it has: {', '.join(self) or 'nothing'}") from None

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def update(self, values: Any) -> None:
        values = as_mapping(values)
        self._values.update(values)
        self._report(values)

    def follow(self, values: Mapping[str, Any]) -> None:
        """Take in logged metrics, which are reported already."""
        self._values.update(values)
