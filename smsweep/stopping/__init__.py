"""Rules that stop trials early, based on the curves of all trials."""
