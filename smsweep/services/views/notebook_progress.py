"""An agent's progress in the notebook whose cell runs it: one display, brought up to date until it is done."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from smsweep.core.sweep import Sweep
from smsweep.errors import SmsweepError
from smsweep.services.views.notebook_html import look_html
from smsweep.services.views.watcher import Look, Watcher

log = logging.getLogger(__name__)

LOOK_S = 1.0  # between two looks


class Progress:
    """A look as a notebook shows it, and as text where HTML does not count."""

    def __init__(self, look: Look, sweep: Sweep) -> None:
        self._html = look_html(look, sweep)
        of = "" if look.expected is None else f" of {look.expected}"
        self._text = f"sweep {sweep.id} is {look.shown['state']}: {look.n_ended}{of} trials ended"

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return self._text


@contextmanager
def progress(sweep_id: str) -> Iterator[None]:
    """Show a sweep below the cell while the body runs."""
    from IPython.display import display  # every Jupyter kernel has it; smsweep does not depend on it

    done = threading.Event()
    with Watcher(sweep_id) as watcher:
        shown = display(Progress(watcher.look(), watcher.sweep), display_id=True)
    thread = threading.Thread(target=_follow, args=(sweep_id, shown, done), name="smsweep-display", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _follow(sweep_id: str, shown: Any, done: threading.Event) -> None:
    try:
        with Watcher(sweep_id) as watcher:
            is_last = False
            while not is_last:
                is_last = done.wait(LOOK_S)
                shown.update(Progress(watcher.look(), watcher.sweep))
    except SmsweepError as err:
        log.debug("no more progress is shown: %s", err)  # the agent meets the same, and says so
