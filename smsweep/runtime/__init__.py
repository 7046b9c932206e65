"""Code that runs inside a job: the entrypoint that starts the script, and `init`, `log`, `config` for the script.

The runtime is one zip file that runs on the Python of any image. It uses only the standard library, supports
Python 3.8 and newer, and imports nothing of smsweep outside this folder. It imports few modules (no typing, hence
`TYPE_CHECKING = False` at the top of its modules, and no pathlib), because a trial may be shorter than the start
of Python.
"""
