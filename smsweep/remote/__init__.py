"""Agents on other machines: SageMaker jobs, SLURM arrays, queue consumers and background processes."""
