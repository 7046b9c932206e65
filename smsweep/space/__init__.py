"""The distributions of parameters, one class per W&B distribution, and the search space."""
