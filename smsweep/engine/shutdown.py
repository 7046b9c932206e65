"""Requests to shut an agent down."""

from __future__ import annotations

from enum import IntEnum


class HandOver(SystemExit):
    """Exit the agent while its jobs continue, so that another agent takes them over."""


class ShutdownLevel(IntEnum):
    """How urgently an agent must exit. Each further Ctrl-C is one level more."""

    NO = 0  # continue
    DRAIN = 1  # start no more trials, let running trials finish
    STOP = 2  # stop running trials, with their grace period
    KILL = 3  # kill running trials at once
