"""Exports of a sweep for other programs."""
