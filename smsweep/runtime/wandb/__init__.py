"""Hooks on W&B's package inside a job."""
