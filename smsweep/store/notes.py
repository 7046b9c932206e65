"""Keys of the notes that are stored with a sweep."""

from __future__ import annotations

from smsweep.core.trial import Trial

REUSE_NOTE = "reuse"  # True: the sweep was created with --reuse
OTHER_JOB_NOTE = "other_job"  # True: some trials ran with another job.yaml than the sweep's
ORIGIN_NOTE = "origin"  # where the sweep was created: git commit, Python and packages
CSV_NOTE = "prior_csv"  # prior runs that were read from files
PRICE_NOTE = "price"  # {"per_hour": dollars, "by_type": {instance type: dollars}, "asked_at": time}
CODE_NOTE = "search_code"  # text of scheduler.source at the creation of the sweep
REPRODUCES_NOTE = "reproduces"  # label of the trial that the sweep repeats
HOSTED_NOTE = "wandb_sweep"  # entity, project and id of the sweep on W&B's server, which chooses the params
OUTLOOK_NOTE = "outlook"  # why more trials probably find nothing better
AGENTS_NOTE = "agents"  # training job of an agent -> its start time
OBEYED_NOTE = "orders"  # id of a recent command -> "" or why it failed


def stop_note(trial: Trial) -> str:
    """Return the key of the evidence for which a stopping rule ended an attempt of a trial."""
    return f"stop/{trial.number}/{trial.attempt}"
