"""The run's summary: the last value of each metric, and what the script says itself."""

from __future__ import annotations

from smsweep.runtime.script.config import Values, as_mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


class Summary(Values):
    """A mapping with attribute access, as `wandb.summary` is; a value the script sets is reported at once."""

    _report: Callable[[Mapping[str, Any]], None]

    def __init__(self, report: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__("summary", {})
        self.__dict__.update(_report=report)  # past __setattr__

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def update(self, values: Any) -> None:
        values = as_mapping(values)
        self._values.update(values)
        self._report(values)

    def follow(self, values: Mapping[str, Any]) -> None:
        """Take in logged metrics, which are reported already."""
        self._values.update(values)
