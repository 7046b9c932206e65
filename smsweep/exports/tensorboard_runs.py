"""Export a sweep as event files of TensorBoard: scalars, and params for its HParams page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams import plugin_data_pb2 as plugin_data
from tensorboard.plugins.hparams import summary_v2 as hparams
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from smsweep.core.json_documents import Row
from smsweep.core.trial import MetricPoint, Trial, TrialState
from smsweep.errors import UsageError
from smsweep.exports.contents import PARAMS, Contents, json_safe, params_in
from smsweep.util.atomic_file import replacing

STATES: Mapping[TrialState, Any] = {
    TrialState.FINISHED: api_pb2.STATUS_SUCCESS,
    TrialState.STOPPED: api_pb2.STATUS_SUCCESS,  # its values count, and TensorBoard has no other status
    TrialState.FAILED: api_pb2.STATUS_FAILURE,
    TrialState.CRASHED: api_pb2.STATUS_FAILURE,
    TrialState.KILLED: api_pb2.STATUS_FAILURE,
}


@dataclass(frozen=True, slots=True)
class Param:
    """A param on the HParams page."""

    about: Any  # hparams.HParam
    cast: Callable[[Any], Any]  # converts smsweep's value to TensorBoard's


def write(contents: Contents, folder: str, *, force: bool) -> str:
    """Write a folder for the sweep, with one subfolder per trial. It is written completely or not at all.

    Args:
        contents: The sweep.
        folder: TensorBoard's log folder.
        force: Replace an existing folder of the sweep.

    Returns:
        The path of the sweep's folder.

    Raises:
        UsageError: If the sweep's folder exists and force is False, or cannot be written.
    """
    target = Path(folder) / _file_name(contents.title)
    if target.exists() and not force:
        raise UsageError(f"{target}: exists; name another folder, or replace it with --force")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as scratch:
            scratch.mkdir()
            _write_all(contents, scratch)
            if target.exists():
                shutil.rmtree(target)
    except OSError as err:
        raise UsageError(f"{target}: cannot be written: {err.strerror or err}; name another folder") from err
    return str(target)


def _write_all(contents: Contents, folder: Path) -> None:
    params = _params(contents)
    created = min([trial.created_at.timestamp() for trial in contents.trials if trial.created_at], default=0.0)
    metrics = [hparams.Metric(metric.name) for metric in contents.metrics]
    about = hparams.hparams_config_pb([param.about for param in params.values()], metrics, created)
    with closing(EventFileWriter(str(folder))) as writer:
        writer.add_event(_event(about, created))
    for trial, row in contents.pairs():
        with closing(EventFileWriter(str(folder / str(trial.number)))) as writer:
            _write_trial(writer, contents, trial, row, params)


def _write_trial(
    writer: EventFileWriter, contents: Contents, trial: Trial, row: Row, params: Mapping[str, Param]
) -> None:
    begun = trial.started_at or trial.created_at
    time = begun.timestamp() if begun else 0.0
    values = {name: params[name].cast(value) for name, value in params_in(row).items()}
    group = f"{contents.title}-{trial.number}"
    start = hparams.hparams_pb(values, trial_id=group, start_time_secs=time)
    writer.add_event(_event(start, time))
    for event in _scalars(contents.points(trial.number)):
        writer.add_event(event)
    status = STATES.get(trial.state)
    if status is not None:
        ended = trial.ended_at.timestamp() if trial.ended_at else time
        writer.add_event(_event(_session_end(status, ended), ended))


def _session_end(status: Any, time: float) -> Summary:
    # TensorBoard's own function for this is in a module that needs TensorFlow.
    info = plugin_data.SessionEndInfo(status=status, end_time_secs=time)
    about = metadata.create_summary_metadata(plugin_data.HParamsPluginData(session_end_info=info))
    value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=about, tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])


def _scalars(points: Sequence[MetricPoint]) -> list[Event]:
    counts: dict[str, int] = {}
    events = []
    for point in points:
        if _is_number(point.value):
            step = counts.get(point.name, 0) if point.step is None else point.step
            counts[point.name] = step + 1
            value = Summary.Value(tag=point.name, simple_value=float(point.value or 0))
            events.append(Event(wall_time=point.time.timestamp(), step=step, summary=Summary(value=[value])))
    return events


def _params(contents: Contents) -> dict[str, Param]:
    columns = [column for column in contents.columns if column.startswith(PARAMS)]
    seen = {column: [row[column] for row in contents.rows if column in row] for column in columns}
    names = [column.removeprefix(PARAMS) for column in columns]
    return {name: _param(name, seen[PARAMS + name]) for name in names}


def _param(name: str, values: Sequence[Any]) -> Param:
    """Return the description of a param for the HParams page: numbers, booleans or text."""
    if values and all(isinstance(value, bool) for value in values):
        return Param(hparams.HParam(name, hparams.Discrete([False, True])), bool)
    if values and all(_is_number(value) for value in values):
        finite = [float(value) for value in values if abs(value) < float("inf")] or [0.0]
        return Param(hparams.HParam(name, hparams.RealInterval(min(finite), max(finite))), float)
    return Param(hparams.HParam(name, hparams.Discrete(sorted({_text(value) for value in values}))), _text)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return json.dumps(json_safe(value), ensure_ascii=False) if isinstance(value, (list, dict)) else str(value)


def _event(summary: Summary, time: float) -> Event:
    return Event(wall_time=time, summary=summary)


def _file_name(title: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in title)[:200]
