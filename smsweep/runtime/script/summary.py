"""The run's summary: the last value of each metric, and the values that the script sets."""

from __future__ import annotations

from smsweep.runtime.script.config import Values, as_mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


class Summary(Values):
    """A mapping with attribute access, like `wandb.summary`. A value that the script sets is reported at once."""

    _report: Callable[[Mapping[str, Any]], None]

    def __init__(self, report: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__("summary", {})
        self.__dict__.update(_report=report)  # __setattr__ would store it as a value

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def update(self, values: Any) -> None:
        """Set several values and report them."""
        values = as_mapping(values)
        self._values.update(values)
        self._report(values)

    def follow(self, values: Mapping[str, Any]) -> None:
        """Add logged metrics, which are reported already."""
        self._values.update(values)
