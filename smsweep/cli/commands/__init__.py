"""The commands of `smsweep`. A module is imported when one of its commands runs.

A command is a function of its name. Its examples, one command line per line, have the same name in capitals with
`_EXAMPLES`.
"""
