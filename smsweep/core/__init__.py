"""Nouns and pure rules: sweeps, trials, jobs, objectives, outcomes, budgets."""
