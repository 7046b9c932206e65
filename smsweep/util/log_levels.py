"""The log level `note`, between info and warning: a fact about a result that is not a problem."""

from __future__ import annotations

import logging

NOTE = 25
logging.addLevelName(NOTE, "note")
