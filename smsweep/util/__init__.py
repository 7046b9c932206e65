"""Helpers that do not depend on sweeps: clock, file locks, atomic files, text for terminals."""
