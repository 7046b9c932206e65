"""Small helpers that know nothing of sweeps: clock, locks, atomic files, text for terminals."""
