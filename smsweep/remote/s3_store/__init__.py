"""Stores of detached sweeps in S3."""
