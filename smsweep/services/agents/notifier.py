"""Send notifications of a sweep's end and of its first failure, each at most once for all agents."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from smsweep.core.job import END, FAILURE, Hook, JobTemplate
from smsweep.core.sweep import Sweep, SweepState
from smsweep.core.trial import Trial, TrialState
from smsweep.errors import NotFound, SmsweepError
from smsweep.notify.delivery import DeliveryThread
from smsweep.notify.hooks import HookLike, collect_hooks, event, resolve, values
from smsweep.runtime.job.secrets import ENV
from smsweep.secrets.redact import make_redact
from smsweep.services.views.json_views import show, trial_data
from smsweep.store import notes
from smsweep.store.base import Store
from smsweep.util.clock import utc_now

log = logging.getLogger(__name__)

BAD = (TrialState.FAILED, TrialState.CRASHED)


class Notifier:
    """Sends the notifications of one agent.

    Before the notifier sends an event to a hook, it adds a note to the sweep. An agent that finds the note sends
    nothing. So a hook gets each event at most once, and never if the agent is killed in between.
    """

    def __init__(
        self,
        store: Store,
        sweep: Sweep,
        template: JobTemplate,
        hooks: tuple[Hook, ...],
        environ: Mapping[str, str],
    ) -> None:
        self._store = store
        self._sweep = sweep
        self._hooks = hooks
        self._redact = make_redact(environ, template, also=values(hooks, environ))
        self._delivery = DeliveryThread(lambda text: resolve(text, environ), environ, self._redact)
        self._has_reported_failure = not any(FAILURE in hook.events for hook in hooks)

    def report_missed_failure(self) -> None:
        """Report an earlier failure that a killed agent did not report."""
        self._safely(self._report_earlier_failure)

    def watching(self, on_change: Callable[[Trial], None]) -> Callable[[Trial], None]:
        """Return a listener that calls `changed`, and then `on_change`."""

        def listen(trial: Trial) -> None:
            self.changed(trial)
            on_change(trial)

        return listen

    def changed(self, trial: Trial) -> None:
        """Report the sweep's first failure if the changed trial has failed."""
        if trial.state in BAD and not self._has_reported_failure:
            self._safely(lambda: self._report_failure(trial))

    def finish(self) -> None:
        """Report the sweep's end if it has ended, and wait for pending deliveries."""
        if self._hooks:
            self.report_missed_failure()
            self._safely(self._report_end)
        self._delivery.close()

    def _report_earlier_failure(self) -> None:
        if self._has_reported_failure:
            return
        counts = self._store.count_trials(self._sweep.id)
        if not any(counts.get(state) for state in BAD):
            return
        failed = [trial for trial in self._store.list_trials(self._sweep.id) if trial.state in BAD]
        self._report_failure(min(failed, key=lambda trial: (trial.ended_at or utc_now(), trial.number)))

    def _report_failure(self, trial: Trial) -> None:
        self._send(FAILURE, FAILURE, trial)
        self._has_reported_failure = True

    def _report_end(self) -> None:
        sweep = self._store.get_sweep(self._sweep.id)
        if sweep.state not in (SweepState.FINISHED, SweepState.STOPPED, SweepState.CANCELLED):
            return
        trials = self._store.list_trials(sweep.id)
        if any(trial.state.is_active for trial in trials):
            return  # the agent that holds the trial reports the end
        # A resumed sweep reports its end again only if a job ran since then.
        n_jobs = sum(trial.attempt + (trial.state is not TrialState.PENDING) for trial in trials)
        self._send(END, f"{END}/{n_jobs}", None)

    def _send(self, kind: str, occasion: str, trial: Trial | None) -> None:
        notification = None
        for hook in self._hooks:
            if kind not in hook.events:
                continue
            now = utc_now().isoformat(timespec="seconds")
            if not notes.notified(occasion, hook.key).add(self._store, self._sweep.id, now):
                continue
            if notification is None:
                data = trial_data(trial, self._sweep) if trial is not None else None
                notification = event(kind, show(self._sweep.id), data, utc_now(), self._redact)
            self._delivery.send(hook, f"{self._sweep.id}/{occasion}", notification)

    def _safely(self, act: Callable[[], None]) -> None:
        try:
            act()
        except NotFound:
            pass  # the sweep was removed
        except SmsweepError as err:
            log.warning("sweep %s: cannot send a notification: %s", self._sweep.id, err)


def make_notifier(
    store: Store, sweep: Sweep, template: JobTemplate, also: Iterable[HookLike], environ: Mapping[str, str]
) -> Notifier:
    """Create a notifier for the hooks of job.yaml, of `also` and of SMSWEEP_NOTIFY, without duplicates.

    Warn of each hook that refers to an environment variable that is not set.
    """
    hooks = {hook.key: hook for hook in (*template.notify, *collect_hooks(also, environ))}
    for hook in hooks.values():
        for text in (hook.url, *hook.headers.values()):
            if text.startswith(ENV) and not environ.get(text.removeprefix(ENV)):
                log.warning(
                    "notify: %s is not set, so this agent cannot notify that hook; set it", text.removeprefix(ENV)
                )
    return Notifier(store, sweep, template, tuple(hooks.values()), environ)
