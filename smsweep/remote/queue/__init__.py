"""Agents that receive their sweeps from an SQS queue."""
