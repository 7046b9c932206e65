"""How an agent is asked to go."""

from __future__ import annotations

from enum import IntEnum


class HandedOver(SystemExit):
    """This agent goes, its jobs go on, and another agent takes them over."""


class Leaving(IntEnum):
    """How urgently the agent has been asked to go; each further Ctrl-C is one step up."""

    NO = 0
    DRAIN = 1  # start nothing new, let running trials finish
    STOP = 2  # end running trials, with their grace
    KILL = 3  # at once
