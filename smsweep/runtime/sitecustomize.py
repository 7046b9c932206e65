"""Lies at the top of runtime.zip, where each Python process of a trial imports it when it starts."""

import os
import sys
from importlib.machinery import PathFinder

if "SMSWEEP_PARAMS_FILE" in os.environ:
    from smsweep.runtime.wandb_hook import install

    install()

# Python runs only the first sitecustomize on its path; an image may have one of its own.
_own = os.path.dirname(__file__)
_next = PathFinder.find_spec("sitecustomize", [folder for folder in sys.path if folder != _own])
if _next is not None and _next.loader is not None:
    _next.loader.exec_module(sys.modules[__name__])
