"""Sweeps that live on W&B's server: asking it, and running their trials as jobs of ours."""
