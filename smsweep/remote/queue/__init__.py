"""Agents that take their sweeps from an SQS queue."""
