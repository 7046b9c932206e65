"""Keep linear algebra on one core."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[object]:
    """Return a context in which numpy's linear algebra uses one thread.

    Matrices of a hundred rows gain nothing from more: left alone, its threads wait for one another, and where
    trainings keep the cores busy a suggestion takes twenty times as long.
    """
    limit: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limit


@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries, so once
