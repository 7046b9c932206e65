"""Trials as calls of a Python function in this process."""
