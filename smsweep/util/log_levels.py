"""What a person should know of an answer although nothing is wrong: below a warning, above progress."""

from __future__ import annotations

import logging

NOTE = 25
logging.addLevelName(NOTE, "note")
