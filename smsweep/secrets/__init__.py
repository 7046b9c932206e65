"""Find, mask and refuse secrets."""
