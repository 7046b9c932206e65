"""Explain why a trial is in its state."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from smsweep.core.json_documents import WhyDocument
from smsweep.core.trial import Trial, TrialState
from smsweep.engine.wait_reason import read_wait_reason
from smsweep.errors import SmsweepError
from smsweep.services.labels import parse_trial
from smsweep.services.views.logs import read_log
from smsweep.services.workspace import Workspace, find_trial
from smsweep.store import notes
from smsweep.util.clock import time_text

LOG_LINES = 15  # last log lines of a failed trial: usually the end of a traceback

ASKERS = {
    "rule": "by a rule",
    "pause": "by a rule, which can promote it later",
    "person": "by the user",
    "agent": "because its agent shuts down",
}


def why(label: str) -> WhyDocument:
    """Explain the state of a trial.

    Args:
        label: The trial ("ID/N").

    Returns:
        `why`, one sentence; `rule`, the evidence of the rule that stopped the trial, or None; `waiting`, why a
        claimed trial waits for its job, or None; `placement`, why the trial does not run at the first place;
        `job_name`, "" if no job ran; `log`, the last lines of a failed or crashed trial if they are available; and
        other fields of the trial.

    Raises:
        NotFound: If there is no such trial.
        UsageError: If the label is not a trial's.
    """
    sweep_id, number = parse_trial(label)
    with Workspace().store() as store:
        trial = find_trial(store, sweep_id, number)
        evidence = notes.stop_evidence(trial).get(store, sweep_id) if trial.asked_by in ("rule", "pause") else None
        waiting = read_wait_reason(store, trial)
        placement = notes.placement(trial).get(store, sweep_id) if trial.place_name else None
    had_job = not trial.state.is_terminal or bool(trial.usage.get("n_jobs"))  # else its result was reused
    is_bad = trial.state in (TrialState.FAILED, TrialState.CRASHED)
    return {
        "trial": trial.label,
        "state": trial.state.value,
        "why": f"waits for its job: {waiting['reason']}" if waiting else SENTENCES[trial.state](trial),
        "reason": trial.reason,
        "rule": evidence,
        "exit_code": trial.exit_code,
        "attempt": trial.attempt,
        "retries": dict(trial.retries),
        "waiting": waiting,
        "job_name": trial.job_name if had_job else "",
        "place": trial.place,
        "place_name": trial.place_name,
        "placement": placement["because"] if placement else [],
        "started_at": trial.started_at.isoformat() if trial.started_at else None,
        "ended_at": trial.ended_at.isoformat() if trial.ended_at else None,
        "log": _log_tail(trial.label) if is_bad else [],
    }


def _log_tail(label: str) -> list[str]:
    try:
        return list(deque(read_log(label), maxlen=LOG_LINES))
    except SmsweepError:
        return []  # for example, the log is on another machine


def _running(trial: Trial) -> str:
    since = f" since {time_text(trial.started_at)}" if trial.started_at else ""
    name = f"{trial.place_name} ({trial.place})" if trial.place_name else trial.place
    return f"runs at {name}{since}"


def _failed(trial: Trial) -> str:
    code = "" if trial.exit_code in (None, 0) else f" with exit code {trial.exit_code}"
    return f"failed{code}"


def _pending(trial: Trial) -> str:
    again = f" to run again, for the {_times(trial.attempt + 1)} time" if trial.attempt else ""
    if not trial.place:
        return f"waits for an agent{again}"
    return (
        f"waits for an agent at {trial.place}, where its checkpoints are,{again or ' to run'}; "
        f"if that place is gone, run it at another place with: smsweep retry {trial.label}"
    )


def _times(n: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th") if n % 100 not in (11, 12, 13) else "th"
    return f"{n}{ending}"


SENTENCES: Mapping[TrialState, Callable[[Trial], str]] = {
    TrialState.PENDING: _pending,
    TrialState.RUNNING: _running,
    TrialState.STOPPING: lambda trial: f"is being stopped {ASKERS.get(trial.asked_by, '')}".rstrip(),
    TrialState.FINISHED: lambda trial: "finished without an error",
    TrialState.FAILED: _failed,
    TrialState.CRASHED: lambda trial: "crashed: its job was lost, and the outcome is unknown",
    TrialState.STOPPED: lambda trial: (
        "was paused by a rule, and has not been promoted" if trial.is_paused else "was stopped by a rule"
    ),
    TrialState.KILLED: lambda trial: "was killed by the user or by the backend of its job",
}
