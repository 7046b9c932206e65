"""One module for each command of `smsweep`, loaded when that command runs.

A module has a function of the command's name and EXAMPLES, one command line per line.
"""
