"""Tell hooks of a sweep's end and of its first failure: each event once, whichever agent sees it."""

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
    """Watches what one agent does to its sweep.

    Before an event is sent to a hook a note of it is added to the sweep; whoever finds one there sends nothing. So
    it arrives at most once, and not at all where the agent dies in between.
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
        self._courier = DeliveryThread(lambda text: resolve(text, environ), environ, self._redact)
        self._failure_is_told = not any(FAILURE in hook.events for hook in hooks)

    def look_back(self) -> None:
        """Tell of a failure that no agent lived to tell."""
        self._safely(self._look_back)

    def watching(self, on_change: Callable[[Trial], None]) -> Callable[[Trial], None]:
        """Return a listener that takes in a change, and passes it on."""

        def listen(trial: Trial) -> None:
            self.changed(trial)
            on_change(trial)

        return listen

    def changed(self, trial: Trial) -> None:
        """Take in that a trial has changed."""
        if trial.state in BAD and not self._failure_is_told:
            self._safely(lambda: self._tell_of_failure(trial))

    def left(self) -> None:
        """Tell of the sweep's end, if this is it, and wait for what is under way."""
        if self._hooks:
            self.look_back()
            self._safely(self._tell_of_end)
        self._courier.close()

    def _look_back(self) -> None:
        if self._failure_is_told:
            return
        counts = self._store.count_trials(self._sweep.id)
        if not any(counts.get(state) for state in BAD):
            return
        failed = [trial for trial in self._store.list_trials(self._sweep.id) if trial.state in BAD]
        self._tell_of_failure(min(failed, key=lambda trial: (trial.ended_at or utc_now(), trial.number)))

    def _tell_of_failure(self, trial: Trial) -> None:
        self._tell(FAILURE, FAILURE, trial)
        self._failure_is_told = True

    def _tell_of_end(self) -> None:
        sweep = self._store.get_sweep(self._sweep.id)
        if sweep.state not in (SweepState.FINISHED, SweepState.STOPPED, SweepState.CANCELLED):
            return
        trials = self._store.list_trials(sweep.id)
        if any(trial.state.is_active for trial in trials):
            return  # whoever holds it will tell
        # A sweep that was resumed ends again, but only if something ran.
        n_jobs = sum(trial.attempt + (trial.state is not TrialState.PENDING) for trial in trials)
        self._tell(END, f"{END}/{n_jobs}", None)

    def _tell(self, kind: str, occasion: str, trial: Trial | None) -> None:
        told = None
        for hook in self._hooks:
            if kind not in hook.events:
                continue
            now = utc_now().isoformat(timespec="seconds")
            if not notes.notified(occasion, hook.key).add(self._store, self._sweep.id, now):
                continue
            if told is None:
                data = trial_data(trial, self._sweep) if trial is not None else None
                told = event(kind, show(self._sweep.id), data, utc_now(), self._redact)
            self._courier.send(hook, f"{self._sweep.id}/{occasion}", told)

    def _safely(self, act: Callable[[], None]) -> None:
        try:
            act()
        except NotFound:
            pass  # somebody removed the sweep
        except SmsweepError as err:
            log.warning("cannot notify now: %s", err)


def make_notifier(
    store: Store, sweep: Sweep, template: JobTemplate, also: Iterable[HookLike], environ: Mapping[str, str]
) -> Notifier:
    """Return what tells the hooks of job.yaml, those in `also` and those of SMSWEEP_NOTIFY, each once.

    Warns of a reference that leads nowhere here.
    """
    hooks = {hook.key: hook for hook in (*template.notify, *collect_hooks(also, environ))}
    for hook in hooks.values():
        for text in (hook.url, *hook.headers.values()):
            if text.startswith(ENV) and not environ.get(text.removeprefix(ENV)):
                log.warning("notify: %s is not set here, so this agent cannot tell it", text.removeprefix(ENV))
    return Notifier(store, sweep, template, tuple(hooks.values()), environ)
