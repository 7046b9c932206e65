"""Rules that end trials early, as a function of the curves so far."""
