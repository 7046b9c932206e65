"""Sweeps on W&B's server: attach, import, sync."""
