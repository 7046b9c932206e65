"""SageMaker's training API on this machine: any boto3 or SDK client against local jobs."""
