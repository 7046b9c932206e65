"""Detection of Jupyter notebooks."""

from __future__ import annotations

import sys


def is_kernel() -> bool:
    """Return True if this process is a Jupyter kernel, which can display HTML and update it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None
