"""Training jobs through an AWS Batch job queue."""
