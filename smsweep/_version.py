"""The version of smsweep."""

__version__ = "0.1.0"
