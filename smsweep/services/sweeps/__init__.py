"""Create, plan, control and remove sweeps."""
