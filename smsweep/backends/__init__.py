"""What runs job requests: processes, containers, function calls, SageMaker; one protocol in front of them."""
