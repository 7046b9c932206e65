"""`smsweep rm`, `prune`, `retry` and `recover`: remove, prune, queue again, and rebuild a lost sweep."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smsweep.cli.commands.sweep import existing_file
from smsweep.cli.options import (
    Backend,
    Config,
    Job,
    Json,
    Labels,
    Name,
    On,
    Parallel,
    Program,
    Seed,
    Yes,
    complete_id,
    whole_id,
    whole_ids,
)
from smsweep.cli.output import print_json, print_message, print_result
from smsweep.cli.run_agent import confirm_agent, follow
from smsweep.cli.text import agent_command, clean, counted, counts
from smsweep.core.json_documents import PrunedSweepDocument, RemovalDocument, S3ObjectsDocument
from smsweep.errors import UsageError
from smsweep.services import recover as recover_service
from smsweep.services.labels import parse_label, parse_sweep_id
from smsweep.services.sweeps import control, remove
from smsweep.services.sweeps import prune as prune_service
from smsweep.services.views import json_views
from smsweep.util.terminal_text import human_size

MAX_LABELS = 5  # in the command that runs retried trials

if TYPE_CHECKING:
    from smsweep.aws.sweep_objects import SweepObject

RM_EXAMPLES = """
smsweep rm abcd1234/3
smsweep rm abcd1234/3 abcd1234/5
smsweep rm abcd1234 --s3 --dry-run
smsweep rm -y abcd1234 --s3
"""
PRUNE_EXAMPLES = """
smsweep prune --keep-best 3 --older-than 30d --dry-run
smsweep prune abcd1234 --keep-best 1
smsweep prune -y --older-than 12w
"""
RETRY_EXAMPLES = """
smsweep retry abcd1234/3
smsweep retry abcd1234 --failed
smsweep retry abcd1234/3 --run
smsweep retry abcd1234/3 --run --on local --on sagemaker:4
"""
RECOVER_EXAMPLES = """
smsweep recover abcd1234 sweep.yaml
smsweep recover abcd1234 sweep.yaml --job job.yaml --backend sagemaker
"""


MIN_PREFIX = 6  # characters of an id that `rm` accepts for a whole sweep
MAX_LISTED = 20  # sweeps or trials in a list of what is deleted
PROGRESS_S = 5.0  # between two messages about the progress of a deletion

RmLabels = Annotated[
    list[str],
    typer.Argument(metavar="ID[/N]...", autocompletion=complete_id, help="Trials or whole sweeps."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="List what would be deleted; delete nothing.")]


def rm(
    labels: RmLabels,
    s3: Annotated[
        bool,
        typer.Option("--s3", help="Also delete their outputs, checkpoints and unused sources in S3."),
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove trials or whole sweeps.

    Deletes their logs, models and checkpoints on this machine, and source snapshots that no other sweep uses, but
    keeps W&B runs that were never synced. Lists what it deletes and asks for confirmation; without a terminal it
    needs --yes. A whole sweep needs its full id, or at least 6 characters of it. A grid proposes the cell of a
    removed trial again: to run it, resume the sweep and start an agent.
    """
    removals = remove.plan_removal(map(full_label, labels), s3=s3)
    if dry_run and as_json:
        print_json([removal_data(removal) for removal in removals])
        return
    if dry_run or not yes:
        list_removals(removals)
    if dry_run:
        return
    confirm(
        yes, f"Delete {removals[0].label if len(removals) == 1 else f'these {len(removals)}'} with all results?"
    )
    with Progress(sum(len(removal.objects) for removal in removals)) as progress:
        removed = remove.carry_out_removal(removals, progress.add)
    if as_json:
        print_json(removed)
    else:
        for label in removed:
            print_result(label)
    if yes:
        warn_about_s3(removals)
    for sweep_id in dict.fromkeys(label.partition("/")[0] for label in removed if "/" in label):
        which = (
            "those grid cells again" if json_views.show(sweep_id)["method"] == "grid" else "other trials instead"
        )
        print_message(f"to run {which}: smsweep sweep --resume {sweep_id}; smsweep agent {sweep_id}")


def full_label(name: str) -> str:
    """Return the label with the full id. Raises UsageError for a short id prefix of a whole sweep."""
    label = whole_id(name) or name
    sweep_id, number = parse_label(label)
    typed = name.strip().rstrip("/").rpartition("/")[2]
    if number is None and typed != sweep_id and sweep_id.startswith(typed) and len(typed) < MIN_PREFIX:
        raise UsageError(
            f"rm: {typed!r} is too short to remove a whole sweep; give the full id {sweep_id}, or at least "
            f"{MIN_PREFIX} characters of it"
        )
    return label


def confirm(yes: bool, question: str) -> None:
    """Ask before a deletion. Raises UsageError if the question cannot be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing was deleted: stdin is not a terminal, so smsweep cannot ask; add --yes")
    typer.confirm(question, abort=True, err=True)


def list_removals(removals: Sequence[remove.Removal]) -> None:
    """Print what a removal deletes, on stderr."""
    for removal in removals[:MAX_LISTED]:
        name = f" ({clean(removal.name)})" if removal.name and removal.number is None else ""
        states = ", ".join(removal.states) if removal.number is not None else counts(dict(removal.states))
        print_message(f"{removal.label}{name}: {states or 'already removed'}")
        folders = counted(removal.job_folders, "job folder")
        bundle = f", source snapshot {removal.bundle.name[:16]}" if removal.bundle else ""
        print_message(f"  on this machine: {folders}{bundle}, {human_size(removal.local_bytes)}")
        list_objects(removal.objects)
        if removal.source_users:
            print_message(f"  kept in S3: the source, which {', '.join(removal.source_users)} also uses")
    if len(removals) > MAX_LISTED:
        rest = removals[MAX_LISTED:]
        objects = counted(sum(len(removal.objects) for removal in rest), "object")
        n_bytes = sum(map(all_bytes, rest))
        print_message(f"... and {len(rest)} more, with {objects} in S3; {human_size(n_bytes)} in all")
    warn_about_s3(removals)


def warn_about_s3(removals: Sequence[remove.Removal]) -> None:
    """Print what stays in S3."""
    kept = dict.fromkeys(uri for removal in removals for uri in removal.kept_uris)
    if kept:
        print_message(f"kept in S3 (delete with --s3): the files of these trials below {', '.join(kept)}")
    warn_about_versions([bucket for removal in removals for bucket in removal.versioned])


def warn_about_versions(buckets: Iterable[str]) -> None:
    for bucket in dict.fromkeys(buckets):
        print_message(
            f"bucket {bucket} is versioned: S3 keeps deleted objects as noncurrent versions, which still cost "
            "money, until a lifecycle rule of the bucket expires them"
        )


def list_objects(objects: Iterable[SweepObject]) -> None:
    """Print the number and the bytes of objects in S3 by kind and bucket, on stderr."""
    for each in object_groups(objects):
        n = counted(each["objects"], "object")
        print_message(f"  in S3: {each['kind']}, {n}, {human_size(each['bytes'])}, below {clean(each['uri'])}")


def object_groups(objects: Iterable[SweepObject]) -> list[S3ObjectsDocument]:
    """Return one document per kind and bucket, with the common prefix of the objects."""
    groups: dict[tuple[str, str], list[SweepObject]] = {}
    for each in objects:
        groups.setdefault((each.kind, each.bucket), []).append(each)
    return [
        {
            "kind": group[0].kind,
            "uri": f"s3://{bucket}/{common_folder(group)}",
            "objects": len(group),
            "bytes": sum(each.size for each in group),
        }
        for (_, bucket), group in groups.items()
    ]


def common_folder(objects: Sequence[SweepObject]) -> str:
    """Return the longest key prefix of all objects that ends before a slash; "" if they have none."""
    first, last = min(each.key for each in objects), max(each.key for each in objects)
    n = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:n].rpartition("/")[0]


def removal_data(removal: remove.Removal) -> RemovalDocument:
    return {
        "label": removal.label,
        "trials": dict(removal.states),
        "job_folders": removal.job_folders,
        "local_bytes": removal.local_bytes,
        "bundle": str(removal.bundle) if removal.bundle else None,
        "s3": object_groups(removal.objects),
        "kept_in_s3": list(removal.kept_uris),
        "source_users": list(removal.source_users),
        "versioned_buckets": list(removal.versioned),
    }


def all_bytes(removal: remove.Removal) -> int:
    return removal.local_bytes + sum(each.size for each in removal.objects)


class Progress:
    """Prints the progress of a deletion in S3, and the fix if Ctrl-C interrupts it."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._printed_at = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            print_message("interrupted; to delete the rest, run the command again")

    def add(self, n: int) -> None:
        """Count n deleted objects."""
        self._done += n
        if time.monotonic() - self._printed_at > PROGRESS_S:
            self._printed_at = time.monotonic()
            print_message(f"deleted {self._done:,} of {self._total:,} objects in S3")


def prune(
    sweep_ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...",
            callback=lambda ids: whole_ids(ids or ()),
            autocompletion=complete_id,
            help="Sweeps (default: all sweeps of the store).",
        ),
    ] = None,
    keep_best: Annotated[
        int | None,
        typer.Option(
            "--keep-best",
            min=0,
            metavar="K",
            help="Keep the files of the K best trials of each sweep; with several metrics, of the Pareto front.",
        ),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="AGE", help="Only trials that ended longer ago, such as 12h, 30d or 8w."
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete models and checkpoints of ended trials.

    Deletes the models, outputs and checkpoints of ended trials, in S3 and on this machine. In S3 it also deletes
    the sources of ended sweeps; an agent uploads them again. Keeps params, metrics and states, the logs on this
    machine, and W&B runs that were never synced. A pruned trial cannot resume from its checkpoint. Asks for
    confirmation; without a terminal it needs --yes.
    """
    pruning = prune_service.plan_pruning(
        [parse_sweep_id(each) for each in sweep_ids or ()],
        keep_best=keep_best,
        older_than=prune_service.parse_age(older_than) if older_than is not None else None,
    )
    for sweep_id, reason in pruning.skipped.items():
        print_message(f"{sweep_id}: skipped: {reason}")
    if dry_run or not yes:
        list_pruning(pruning)
    if not pruning.sweeps:
        print_message("nothing to prune")
    elif not dry_run:
        n = sum(len(pruned.trials) for pruned in pruning.sweeps)
        confirm(yes, f"Delete the files of {n} trials?")
        with Progress(sum(len(pruned.objects) for pruned in pruning.sweeps)) as progress:
            prune_service.carry_out_pruning(pruning, progress.add)
    if as_json:
        print_json([pruned_data(pruned) for pruned in pruning.sweeps])
    else:
        for pruned in pruning.sweeps:
            for trial in pruned.trials:
                print_result(trial.label)


def list_pruning(pruning: prune_service.Pruning) -> None:
    """Print what pruning deletes, on stderr."""
    for pruned in pruning.sweeps:
        kept = f"; keeps {', '.join(map(str, pruned.kept[:MAX_LISTED]))}" if pruned.kept else ""
        states = Counter(trial.state.value for trial in pruned.trials)
        print_message(f"{pruned.sweep.id} ({clean(pruned.sweep.name)}): {counts(states)}{kept}")
        if pruned.job_folders:
            print_message(
                f"  on this machine: {counted(pruned.job_folders, 'folder')}, {human_size(pruned.local_bytes)}"
            )
        list_objects(pruned.objects)
    warn_about_versions([bucket for pruned in pruning.sweeps for bucket in pruned.versioned])


def pruned_data(pruned: prune_service.PrunedSweep) -> PrunedSweepDocument:
    return {
        "id": pruned.sweep.id,
        "trials": [trial.number for trial in pruned.trials],
        "kept": list(pruned.kept),
        "job_folders": pruned.job_folders,
        "local_bytes": pruned.local_bytes,
        "s3": object_groups(pruned.objects),
        "versioned_buckets": list(pruned.versioned),
    }


def retry(
    labels: Labels,
    failed: Annotated[
        bool, typer.Option("--failed", help="Retry all failed and crashed trials of the sweeps.")
    ] = False,
    run: Annotated[
        bool, typer.Option("--run", help="Run the trials now, and return when they have ended.")
    ] = False,
    parallel: Parallel = 1,
    backend: Backend = None,
    on: On = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Queue failed or stopped trials again.

    Returns failed, crashed, stopped or killed trials to the queue, with the same params. Finished trials never
    repeat. A pending trial that waits for the place of its checkpoints can then run at any place. With --run, also
    resumes the sweep if it has ended, and runs an agent until the trials have ended: on --backend or at the places
    of --on, or where the sweep ran before. The agent adds no other trials to the sweep.
    """
    if run:
        code = _retry_now(
            labels, failed=failed, parallel=parallel, backend=backend, on=on or [], yes=yes, as_json=as_json
        )
        raise typer.Exit(code)
    trials = control.retry(labels, failed=failed)
    if as_json:
        print_json([trial.label for trial in trials])
    else:
        for trial in trials:
            print_result(trial.label)
    if not trials:
        print_message("no trial to retry")
    for sweep_id in dict.fromkeys(trial.sweep_id for trial in trials):
        retried = [trial.label for trial in trials if trial.sweep_id == sweep_id]
        if json_views.show(sweep_id)["state"] == "running":
            print_message(f"an agent of the sweep runs them; start one with: smsweep agent {sweep_id}")
        elif len(retried) <= MAX_LABELS:
            print_message(
                f"run {'them' if len(retried) > 1 else 'it'} with: smsweep retry --run {' '.join(retried)}"
            )
        else:
            print_message(f"run them with: smsweep sweep --resume {sweep_id}; smsweep agent {sweep_id}")


def _retry_now(
    labels: list[str],
    *,
    failed: bool,
    parallel: int | str,
    backend: str | None,
    on: list[str],
    yes: bool,
    as_json: bool,
) -> int:
    """Run ended trials again until they have ended, and return the exit code."""
    retries = [
        retried if not (backend or on) else replace(retried, backend=backend or "", on=tuple(on))
        for retried in control.find_retried(labels, failed=failed)
    ]
    control.check_places(retries, parallel=parallel)  # raises before a trial is queued
    names = [f"{retried.sweep_id}/{number}" for retried in retries for number in retried.numbers]
    if as_json:
        print_json(names)
    else:
        for name in names:
            print_result(name)
    if not names:
        print_message("no trial to retry")
    codes = [0]
    for retried in retries:
        where: dict[str, Any] = {"backend": retried.backend or None, "on": retried.on, "parallel": parallel}
        confirm_agent(retried.sweep_id, yes=yes, count=len(retried.numbers), **where)
        with control.reopened(retried):
            codes.append(
                follow(
                    retried.sweep_id,
                    yes=True,
                    as_json=False,
                    until=retried.numbers,
                    **where,
                )
            )
    return max(codes)


def recover(
    sweep_id: Annotated[
        str, typer.Argument(metavar="ID", help="The id of the lost sweep, as in the names of its jobs.")
    ],
    config: Config,
    name: Name = None,
    program: Program = None,
    job: Job = None,
    seed: Seed = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Rebuild a lost sweep from its jobs.

    Use it when the store was lost. Give the files and options that the sweep was created with. Each job carries
    the params of its trial, so `smsweep agent ID` then reads the logs and continues the sweep. This command starts
    and stops no job.
    """
    recovered = recover_service.recover(
        sweep_id, existing_file(config), program=program, job=job, backend=backend, name=name, seed=seed
    )
    if as_json:
        print_json({"id": recovered.sweep_id, "trials": recovered.n_trials, "lost": recovered.n_lost})
    else:
        print_result(recovered.sweep_id)
    lost = f"; lost without a job: {counted(recovered.n_lost, 'trial')}" if recovered.n_lost else ""
    print_message(f"found the jobs of {counted(recovered.n_trials, 'trial')}{lost}")
    print_message(f"read the results and continue with: {agent_command(recovered.sweep_id, {'backend': backend})}")
