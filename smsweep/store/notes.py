"""Results of earlier sweeps for trials that would only repeat them."""

from __future__ import annotations

from smsweep.core.trial import Trial

REUSE_NOTE = "reuse"  # of a sweep created with --reuse


OTHER_JOB_NOTE = "other_job"  # of a sweep some of whose trials ran by another job.yaml than its own


ORIGIN_NOTE = "origin"  # of a sweep


CSV_NOTE = "prior_csv"  # of a sweep: the runs read from files when it was created


PRICE_NOTE = "price"  # of a sweep: {"per_hour": dollars, "by_type": {machine: dollars}, "asked_at": time}


CODE_NOTE = "search_code"  # of a sweep: the text of its scheduler.source, as it was when the sweep was created


REPRODUCES_NOTE = "reproduces"  # of a sweep: the label of the trial that it repeats


HOSTED_NOTE = "wandb_sweep"  # of a sweep: its entity, project and id on W&B's server, which chooses its params


OUTLOOK_NOTE = "outlook"  # of a sweep: why more trials will hardly find anything better


def stop_note(trial: Trial) -> str:
    """Return the key of the sweep's note with the evidence for which a rule ended the trial's attempt."""
    return f"stop/{trial.number}/{trial.attempt}"


AGENTS_NOTE = "agents"  # of a sweep: training jobs that its agents were -> when each began


OBEYED_NOTE = "orders"  # of a sweep: the last commands that were read, id -> "" or why it was not carried out
