"""The audit log of MCP servers: every call, and the trials and dollars that sweeps reserve.

All servers of a workspace append to one file. The totals count against the limits of every server, so a restart
does not reset them. A reservation is written before its sweep exists, so a kill cannot lose it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smsweep.errors import UsageError
from smsweep.mcp.limits import Limits
from smsweep.util.atomic_file import exclusive
from smsweep.util.clock import utc_now

FILE, LOCK = "mcp.jsonl", "mcp.lock"  # in the workspace


@dataclass(frozen=True, kw_only=True, slots=True)
class Reservation:
    """What a spending call needs at most."""

    sweep_id: str
    backend: str
    trials: int
    usd: float = 0.0
    is_new: bool = True  # False if the sweep exists already


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """What all calls have reserved."""

    trials: int
    usd: float


class AuditLog:
    """Reads and appends to the audit log of a workspace.

    Args:
        folder: The workspace.
        has_sweep: Returns True if the store has a sweep.
    """

    def __init__(self, folder: Path, has_sweep: Callable[[str], bool]) -> None:
        self._path, self._lock = folder / FILE, folder / LOCK
        self._has_sweep = has_sweep

    def record(self, event: str, **fields: Any) -> None:
        """Append one line, and write it to the disk."""
        line = json.dumps({"at": utc_now().isoformat(), "pid": os.getpid(), "event": event, **fields})
        # A leading line end, because a killed process can leave a part of a line. Empty lines are ignored.
        data = f"\n{line}\n".encode()
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, data)
            os.fsync(file)
        finally:
            os.close(file)

    def sweeps(self) -> Mapping[str, Reservation]:
        """Return the sweeps that MCP created, by id."""
        return {each.sweep_id: each for each in self._reservations() if each.is_new}

    def totals(self) -> Totals:
        """Return what is reserved. Ended sweeps keep their reservation."""
        found = list(self._reservations())
        return Totals(trials=sum(each.trials for each in found), usd=sum(each.usd for each in found))

    def check(self, limits: Limits, wanted: Reservation | None = None) -> None:
        """Raise UsageError if a reservation exceeds the limits, together with all earlier ones."""
        totals = self.totals()
        trials, usd = (wanted.trials, wanted.usd) if wanted else (0, 0.0)
        if totals.trials + trials > limits.max_trials:
            more = f"{trials} do not fit: " if wanted else ""
            fix = "lower run_cap or trials, or " if wanted else ""
            raise UsageError(
                f"trials: {more}{totals.trials} of the {limits.max_trials} that the user allows are reserved; "
                f"{fix}ask the user to raise --max-trials"
            )
        if totals.usd + usd > limits.budget_usd + 1e-9:
            more = f"${usd:,.2f} do not fit: " if wanted else ""
            fix = "lower max_run, trials or usd, or " if wanted else ""
            raise UsageError(
                f"usd: {more}${totals.usd:,.2f} of the ${limits.budget_usd:,.2f} that the user allows are "
                f"reserved; {fix}ask the user to raise --budget-usd"
            )

    def locked(self) -> AbstractContextManager[None]:
        """Hold the lock of the spending calls, in all servers of the workspace."""
        return exclusive(self._lock)

    @contextmanager
    def reserved(self, limits: Limits, wanted: Reservation) -> Iterator[None]:
        """Reserve trials and dollars for the block, which creates what they are for.

        One call at a time reserves, in all servers of the workspace. If the block raises, the reservation ends.

        Raises:
            UsageError: If the reservation exceeds the limits.
        """
        with self.locked():
            self.check(limits, wanted)
            fields = {name: getattr(wanted, name) for name in ("sweep_id", "backend", "trials", "usd", "is_new")}
            key = os.urandom(8).hex()
            self.record("reserved", key=key, **fields)
            try:
                yield
            except BaseException:
                self.record("released", key=key)
                raise
            self.record("created", key=key)

    def _reservations(self) -> Iterator[Reservation]:
        """Yield the reservations that count. One whose server was killed before its sweep existed does not."""
        found: dict[str, Reservation] = {}
        is_created = set[str]()
        for entry in self._entries():
            key = str(entry.get("key", ""))
            if entry["event"] == "reserved":
                found[key] = Reservation(
                    sweep_id=str(entry["sweep_id"]),
                    backend=str(entry["backend"]),
                    trials=int(entry["trials"]),
                    usd=float(entry["usd"]),
                    is_new=bool(entry["is_new"]),
                )
            elif entry["event"] == "released":
                found.pop(key, None)
            elif entry["event"] == "created":
                is_created.add(key)
        for key, each in found.items():
            if key in is_created or not each.is_new or self._has_sweep(each.sweep_id):
                yield each

    def _entries(self) -> Iterator[dict[str, Any]]:
        try:
            with self._path.open("rb") as file:
                for line in file:
                    try:
                        entry = json.loads(line)
                    except ValueError:  # an empty line, or a part of a line of a killed process
                        continue
                    if isinstance(entry, dict) and "event" in entry:
                        yield entry
        except FileNotFoundError:
            return
