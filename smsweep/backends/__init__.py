"""The backends, which run job requests as processes, containers, function calls or SageMaker jobs."""
