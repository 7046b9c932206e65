"""Emulator of SageMaker's training API: boto3 and SDK clients run training jobs on this machine."""
