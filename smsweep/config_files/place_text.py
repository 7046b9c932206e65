"""Places as `--on` accepts them: NAME[:spot][:SLOTS]."""

from __future__ import annotations

from smsweep.core.job import PlaceSpec
from smsweep.errors import UsageError

LOCAL = "local"  # the short name of processes on this machine
MARKETS = {"spot": True, "on-demand": False}  # word after a backend -> use_spot_instances
FORM = "write NAME[:spot][:SLOTS], such as local, slurm:8 or sagemaker:spot:16"


def parse_place(text: str) -> PlaceSpec:
    """Return the place of a text such as `local`, `slurm:8` or `sagemaker:spot:16`.

    Raises:
        UsageError: If the text has another form.
    """
    first, *rest = text.strip().split(":")
    slots: int | None = None
    if rest and rest[-1].isascii() and rest[-1].isdecimal():
        slots = int(rest.pop())
    if not first or len(rest) > 1 or (rest and rest[0] not in MARKETS) or slots == 0:
        raise UsageError(f"{text!r} is not a valid place; {FORM}")
    overlay = {"use_spot_instances": MARKETS[rest[0]]} if rest else {}
    backend = "process" if first == LOCAL else first
    return PlaceSpec(name=":".join([first, *rest]), backend=backend, slots=slots, overlay=overlay)
