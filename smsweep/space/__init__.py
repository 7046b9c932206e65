"""What may be drawn: one class per W&B distribution, and the space that parameters span together."""
