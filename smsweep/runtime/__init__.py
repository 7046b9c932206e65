"""What runs inside a job: the entrypoint that starts the script, and `init`, `log`, `config` for the script.

It travels as one zip and meets whatever Python an image has, so it is standard library only, works from 3.8 on,
and imports nothing of smsweep outside this folder. Imports are kept few (no typing, hence `TYPE_CHECKING = False`
at the top of its modules, and no pathlib): a trial may be shorter than Python's own start.
"""
