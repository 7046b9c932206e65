"""Sweeps on W&B's server: reading them, and running their trials as smsweep's jobs."""
