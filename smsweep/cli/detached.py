"""What `run --detach` and `agent --detach` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from smsweep import sdk
from smsweep.cli.output import say


def detach(sweep_id: str, options: Mapping[str, object], notify: Sequence[str] | None = None) -> None:
    """Leave an agent behind, and say how to look after it. options: of `smsweep agent`, by their long names."""
    arguments = []
    for name, value in options.items():
        if value is True:
            arguments.append(f"--{name}")
        elif value not in (None, False):
            arguments.append(f"--{name}={value}")
    daemon = sdk.detach.detach(sweep_id, arguments, notify or ())
    say(f"agent {daemon.pid} goes on without this terminal; it says what it does in {daemon.log}")
    say(f"look with: smsweep show {sweep_id}; smsweep logs {sweep_id}/0 -f")
    say(f"end it with: smsweep sweep --stop {sweep_id}, when running trials have finished; kill {daemon.pid}, now")
