"""The stopping rules, by W&B's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from smsweep.stopping.base import StoppingRule
from smsweep.sweeps import SweepConfig
from smsweep.tables import LazyTable

RULES: Mapping[str, Callable[[SweepConfig], StoppingRule]] = LazyTable(
    {"hyperband": "smsweep.stopping.hyperband:Hyperband"}
)
