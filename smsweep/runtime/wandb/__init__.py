"""Hooks for W&B's package inside a job."""
