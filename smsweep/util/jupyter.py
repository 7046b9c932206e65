"""Whether somebody looks on in a notebook."""

from __future__ import annotations

import sys


def is_kernel() -> bool:
    """Tell whether this process is a Jupyter kernel, where what is displayed can be HTML and can change."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None
