"""The table of sweeps and trials: its protocol, and the one store that implements it, in SQL."""
