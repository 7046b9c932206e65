"""A sweep in the shape that other programs read."""
