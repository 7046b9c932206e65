"""Reservations of simultaneous calls, in several servers of a workspace."""

from __future__ import annotations

import threading
from pathlib import Path

from smsweep.errors import UsageError
from smsweep.mcp.audit_log import AuditLog, Reservation
from smsweep.mcp.limits import Limits


def test_simultaneous_reservations_do_not_exceed_the_limits_together(tmp_path: Path) -> None:
    limits = Limits(max_trials=100, budget_usd=2.5, folders=(tmp_path,), workspace=tmp_path)
    start, refused = threading.Barrier(8), list[str]()

    def reserve(number: int) -> None:
        log = AuditLog(tmp_path, lambda sweep_id: False)
        start.wait()
        try:
            with log.reserved(limits, Reservation(sweep_id=f"s{number}", backend="sagemaker", trials=1, usd=0.8)):
                pass
        except UsageError as err:
            refused.append(str(err))

    servers = [threading.Thread(target=reserve, args=(number,)) for number in range(8)]
    for server in servers:
        server.start()
    for server in servers:
        server.join()
    totals = AuditLog(tmp_path, lambda sweep_id: False).totals()
    assert (totals.trials, round(totals.usd, 6)) == (3, 2.4)
    assert (
        refused
        == [
            "usd: $0.80 do not fit: $2.40 of the $2.50 that the user allows are reserved; "
            "lower max_run, trials or usd, or ask the user to raise --budget-usd"
        ]
        * 5
    )


def test_reservation_of_a_failed_call_ends(tmp_path: Path) -> None:
    limits = Limits(max_trials=1, folders=(tmp_path,), workspace=tmp_path)
    log, wanted = (
        AuditLog(tmp_path, lambda sweep_id: False),
        Reservation(sweep_id="a", backend="process", trials=1),
    )
    for _ in range(2):
        try:
            with log.reserved(limits, wanted):
                raise OSError
        except OSError:
            assert log.totals().trials == 0
