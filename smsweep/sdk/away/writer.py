"""The one who writes a store that is kept in S3: on a copy here, put back before anything has effects."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from smsweep.backends.sagemaker.shelf import Order, Shelf
from smsweep.errors import NotFound, StoreConflict
from smsweep.sdk.away.record import AGENTS_NOTE
from smsweep.store.base import Store
from smsweep.store.open import FILE_NAME, open_store
from smsweep.store.snapshot import Changes, snapshot
from smsweep.sweeps import SweepConfig, SweepState
from smsweep.trials import TrialState

log = logging.getLogger(__name__)

OBEYED_NOTE = "orders"  # of a sweep: the last orders that were carried out, id -> "" or why not
MOST_OBEYED = 100  # kept: an order is read again only until it is deleted


class Writer:
    """Takes a sweep's store over from whoever wrote it, and gives every lease back that they held.

    folder: for the copy. Raises Superseded at the first `save` after another has taken it over.
    """

    def __init__(
        self, shelf: Shelf, sweep_id: str, folder: Path, parse: Callable[[str], SweepConfig], who: str
    ) -> None:
        self._shelf = shelf
        self._sweep_id = sweep_id
        self._file = folder / FILE_NAME
        self._draft = folder / "draft.db"
        self._stamp = f"{who}:{secrets.token_hex(4)}"
        self._n_saved = 0
        folder.mkdir(parents=True, exist_ok=True)
        for name in (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"):
            (folder / name).unlink(missing_ok=True)  # of a writer before us: what counts is in S3
        version = shelf.fetch(self._file)
        self._etag = version.etag if version else ""
        self.store: Store = open_store(f"sqlite:///{self._file}", environ={}, parse=parse)
        self._changes = Changes(self._file)
        self._saved = -1
        for holder in self.store.holders(sweep_id):
            self.store.release(holder)  # from the next line on they cannot write any more
        self.save()

    def save(self) -> None:
        """Bring S3 up to date. Raises Superseded, StoreUnavailable, StoreError; the copy here stays as it is."""
        version = self._changes.version()
        if version == self._saved:
            return
        snapshot(self._file, self._draft)
        self._n_saved += 1
        self._etag = self._shelf.replace(self._draft, version=self._etag, stamp=f"{self._stamp}:{self._n_saved}")
        self._saved = version

    def obey(self) -> int:
        """Carry out the orders that lie in S3, each once, and return how many there were."""
        orders = self._shelf.orders()
        obeyed: dict[str, str] = self.store.get_note(self._sweep_id, OBEYED_NOTE) or {} if orders else {}
        for order in orders:
            if order.id not in obeyed:
                obeyed[order.id] = self._carry_out(order)
                kept = dict(list(obeyed.items())[-MOST_OBEYED:])
                self.store.put_note(self._sweep_id, OBEYED_NOTE, kept)
        if orders:
            self.save()  # first: an order that is gone has been carried out for good
        for order in orders:
            self._shelf.drop(order.id)
        return len(orders)

    def note_job(self, name: str, now: str) -> str:
        """Write down that a training job works on the sweep, and return when it first did."""
        jobs: dict[str, str] = self.store.get_note(self._sweep_id, AGENTS_NOTE) or {}
        if name not in jobs:
            jobs[name] = now
            self.store.put_note(self._sweep_id, AGENTS_NOTE, jobs)
        return jobs[name]

    def close(self) -> None:
        self._changes.close()
        self.store.close()

    def _carry_out(self, order: Order) -> str:
        """Return why not; "" when it was done."""
        try:
            carry_out(self.store, self._sweep_id, order.document)
        except (StoreConflict, NotFound) as err:
            log.warning("order %s: %s", order.id, err)
            return str(err)
        except (KeyError, TypeError, ValueError) as err:
            log.warning("order %s is none that can be carried out: %s: %s", order.id, type(err).__name__, err)
            return f"no order: {type(err).__name__}: {err}"
        log.warning("told to: %s", described(order.document))
        return ""


def carry_out(store: Store, sweep_id: str, order: Mapping[str, Any]) -> None:
    """Raises StoreConflict, NotFound, or KeyError, TypeError, ValueError for what is no order."""
    kind = order["do"]
    if kind == "set_sweep_state":
        store.set_sweep_state(sweep_id, [SweepState(state) for state in order["expect"]], SweepState(order["to"]))
    elif kind == "move":
        expect = [TrialState(state) for state in order["expect"]]
        reason, by = str(order["reason"]), str(order["asked_by"])
        store.move(sweep_id, int(order["number"]), expect, TrialState(order["to"]), reason=reason, asked_by=by)
    elif kind == "remove_trial":
        store.remove_trial(sweep_id, int(order["number"]))
    elif kind == "put_note":
        store.put_note(sweep_id, str(order["key"]), order["value"])
    else:
        raise ValueError(f"nobody knows how to {kind!r}")


def described(order: Mapping[str, Any]) -> str:
    """Return an order as a person reads it."""
    about = f" trial {order['number']}" if "number" in order else ""
    to = f" to {order['to']}" if "to" in order else ""
    return f"{str(order['do']).replace('_', ' ')}{about}{to}"
