"""Run agents: in this process, detached, from a queue, on SLURM."""
