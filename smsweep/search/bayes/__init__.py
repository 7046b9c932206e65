"""Bayesian optimisation on a Gaussian process, in numpy; see docs/search.md."""
