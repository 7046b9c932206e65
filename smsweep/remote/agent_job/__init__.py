"""Agents that run as a SageMaker training job."""
