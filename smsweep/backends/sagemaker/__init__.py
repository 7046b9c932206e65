"""The SageMaker backend: training jobs, their logs, status and rate limits."""
