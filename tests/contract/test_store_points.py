"""Contract of all stores for points: exact values, summaries, and replacement by a new attempt."""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smsweep.core.trial import MetricPoint, MetricStats, Scalar, Trial, TrialState
from smsweep.errors import StoreConflict
from smsweep.store.base import Store
from tests.support.clock import FakeClock
from tests.support.sweeps import a_sweep

SWEEP = "abcd1234"
NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)
RETRY = [TrialState.RUNNING]


@pytest.fixture
def trial(store: Store) -> Store:
    """The store with one running trial, number 0."""
    store.create_sweep(a_sweep())
    store.add_trials(SWEEP, 0, [{"lr": 0.1}])
    store.claim(SWEEP, "ann", "here", 60)
    return store


def point(value: Scalar, step: int | None = None, name: str = "loss") -> MetricPoint:
    return MetricPoint(name=name, value=value, step=step, time=NOW)


def at_steps(*steps: int | None, name: str = "loss") -> list[MetricPoint]:
    return [point(float(i), step, name) for i, step in enumerate(steps)]


def append(store: Store, points: Sequence[MetricPoint], summary: Mapping[str, Scalar] | None = None) -> Trial:
    """Append points at the current log position."""
    cursor = store.get_trial(SWEEP, 0).cursor
    return store.append_points(SWEEP, 0, points, cursor + ".", expect_cursor=cursor, summary=summary)


def retry(store: Store) -> None:
    store.move(SWEEP, 0, RETRY, TrialState.PENDING)
    store.claim(SWEEP, "ann", "here", 60)


def steps(store: Store) -> list[int | None]:
    return [p.step for p in store.read_points(SWEEP, 0)]


def curve(store: Store, metric: str = "loss") -> tuple[float, ...]:
    (trial,) = store.list_trials(SWEEP, curve_of=metric)
    return trial.curve


def exactly(value: Scalar) -> tuple[type, str]:
    """Return a form in which 1, 1.0 and True differ, 0.0 and -0.0 differ, and NaN equals NaN."""
    return type(value), repr(value)


SCALARS = st.one_of(
    st.floats(),
    st.integers(),
    st.integers(-(2**1100), 2**1100),
    st.booleans(),
    st.none(),
    st.text(st.characters(codec=None)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(SCALARS, max_size=8), summary=st.dictionaries(st.text(string.ascii_letters), SCALARS))
def test_every_value_is_read_exactly_as_written(
    trial: Store, values: list[Scalar], summary: dict[str, Scalar]
) -> None:
    before = len(trial.read_points(SWEEP, 0))
    after = append(trial, [point(value) for value in values], summary)
    stored = trial.read_points(SWEEP, 0)[before:]
    assert [exactly(p.value) for p in stored] == [exactly(value) for value in values]
    remaining = trial.get_trial(SWEEP, 0).summary
    assert {key: exactly(remaining[key]) for key in summary} == {key: exactly(summary[key]) for key in summary}
    assert repr(trial.get_trial(SWEEP, 0)) == repr(after)


NUMBERS = [0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1, math.nan, math.inf, -math.inf, 0, 2**53 + 1, 10**400]
OTHERS = [True, False, None, "", "NaN", "1", "'; drop table points; --", "\0", "\ud800", "ä🙂"]


@pytest.mark.parametrize("value", [*NUMBERS, *OTHERS], ids=lambda value: ascii(value)[:20])
def test_extreme_value_is_read_exactly_as_written(trial: Store, value: Scalar) -> None:
    append(trial, [point(value)])
    assert [exactly(p.value) for p in trial.read_points(SWEEP, 0)] == [exactly(value)]


def test_points_are_read_complete_and_in_order(trial: Store) -> None:
    there = timezone(timedelta(hours=9))
    points = [
        point(1, 2, "b"),
        MetricPoint(name="a.ä", value=2.5, step=-1, time=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=there)),
        point(3, None, "b"),
    ]
    append(trial, points[:2])
    append(trial, points[2:])
    stored = trial.read_points(SWEEP, 0)
    assert stored == points
    assert {p.time.utcoffset() for p in stored} == {timedelta(0)}
    assert trial.read_points(SWEEP, 0, names=["b", "c"]) == [points[0], points[2]]
    assert trial.read_points(SWEEP, 0, names=[]) == []


def test_points_read_before_are_omitted(trial: Store) -> None:
    points = [point(value, name=name) for value, name in ((1, "a"), (2, "b"), (3, "a"), (4, "b"))]
    append(trial, points)
    assert trial.read_points(SWEEP, 0, after=3) == points[3:]
    assert trial.read_points(SWEEP, 0, after=4) == trial.read_points(SWEEP, 0, after=9) == []
    assert trial.read_points(SWEEP, 0, names=["b"], after=1) == points[3:]


def test_step_out_of_integer_range_is_stored_as_none(trial: Store) -> None:
    append(trial, at_steps(2**63 - 1, 2**63, -(10**30)))
    assert steps(trial) == [2**63 - 1, None, None]


def test_metric_name_with_invalid_text_is_replaced(trial: Store) -> None:
    after = append(trial, [point(1.0, name="a\0b")])
    assert [p.name for p in trial.read_points(SWEEP, 0)] == ["a\ufffdb"]
    assert list(after.metrics) == ["a\ufffdb"]


def test_trial_summarizes_its_points(trial: Store) -> None:
    append(trial, [point(3.0), point(math.nan), point(1), point("x", name="note")])
    after = append(trial, [point(2.0), point(True)])
    assert after.n_points == 6
    assert after.metrics == {
        "loss": MetricStats(last=True, count=3, min=1.0, max=3.0),
        "note": MetricStats(last="x"),
    }
    assert trial.get_trial(SWEEP, 0) == after


def test_points_and_log_position_are_stored_together(trial: Store) -> None:
    first = trial.append_points(SWEEP, 0, at_steps(0), "line 1", expect_cursor="")
    assert (first.cursor, first.n_points) == ("line 1", 1)
    with pytest.raises(StoreConflict, match="line 1"):
        trial.append_points(SWEEP, 0, at_steps(0), "line 1", expect_cursor="", summary={"a": 1})
    assert trial.get_trial(SWEEP, 0) == first
    assert steps(trial) == [0]


def test_points_and_position_are_not_stored_when_one_point_is_invalid(trial: Store) -> None:
    before = trial.get_trial(SWEEP, 0)
    naive = MetricPoint(name="loss", value=1.0, time=NOW.replace(tzinfo=None))
    with pytest.raises(TypeError):
        trial.append_points(SWEEP, 0, [point(1.0), naive], "line 1", expect_cursor="")
    assert trial.get_trial(SWEEP, 0) == before
    assert steps(trial) == []


def test_log_position_advances_without_points(trial: Store) -> None:
    assert trial.append_points(SWEEP, 0, [], "line 9", expect_cursor="").cursor == "line 9"


def test_empty_update_changes_nothing(trial: Store) -> None:
    before = trial.get_trial(SWEEP, 0)
    assert trial.append_points(SWEEP, 0, [], "", expect_cursor="") == before
    assert trial.get_trial(SWEEP, 0) == before


def test_summaries_are_merged(trial: Store) -> None:
    append(trial, [], {"best": 1, "note": "a"})
    assert append(trial, [], {"best": 0.5, "seen": None}).summary == {"best": 0.5, "note": "a", "seen": None}


def test_ended_trial_accepts_last_points(trial: Store) -> None:
    trial.move(SWEEP, 0, [TrialState.RUNNING], TrialState.FINISHED)
    assert append(trial, at_steps(1)).n_points == 1


# Curves


def test_curve_has_finite_values_of_one_metric(trial: Store) -> None:
    values: list[Scalar] = [3, 2.5, math.nan, "x", True, None, math.inf, 1]
    append(trial, [point(value) for value in values] + [point(9, name="acc")])
    assert curve(trial) == (3.0, 2.5, 1.0)
    assert curve(trial, "acc") == (9.0,)
    assert curve(trial, "unheard") == ()


def test_curve_has_last_point_of_each_step(trial: Store) -> None:
    append(trial, at_steps(0, 0, 1, 1))
    append(trial, [point(10.0, 1), point(5.0, 2), point(math.nan, 2), point(4.0, 1)])
    assert curve(trial) == (1.0, 10.0, 4.0)


def test_summary_uses_last_point_of_each_step(trial: Store) -> None:
    append(trial, [point(0.1, 5), point(9.0, 5, "acc"), point(3.0, 5), point(7.0, 6)])
    after = append(trial, [point(4.0, 6)])
    assert after.metrics["loss"] == MetricStats(last=4.0, count=2, min=3.0, max=4.0)
    assert after.metrics == trial.get_trial(SWEEP, 0).metrics
    assert append(trial, [point(math.nan, 6)]).metrics["loss"].count == 1
    assert append(trial, [point(1.0)]).metrics["loss"].min == 1.0


def test_points_without_step_are_separate_rows(trial: Store) -> None:
    append(trial, at_steps(None, None, None))
    assert curve(trial) == (0.0, 1.0, 2.0)


def test_curve_has_points_of_its_trial_only(trial: Store) -> None:
    trial.add_trials(SWEEP, 1, [{}, {}])
    trial.append_points(SWEEP, 2, [point(7.0)], "x", expect_cursor="")
    append(trial, [point(8.0)])
    assert {t.number: t.curve for t in trial.list_trials(SWEEP, curve_of="loss")} == {
        0: (8.0,),
        1: (),
        2: (7.0,),
    }


def test_changed_trials_have_complete_curves(trial: Store) -> None:
    before = append(trial, at_steps(0, 1))
    append(trial, [point(7.0, 2)])
    (changed,) = trial.list_trials(SWEEP, since=before.revision, curve_of="loss")
    assert changed.curve == (0.0, 1.0, 7.0)


# New attempts


def test_attempt_from_checkpoint_keeps_earlier_points(trial: Store) -> None:
    append(trial, at_steps(0, 1, 2, 3))
    retry(trial)
    append(trial, [point(20.0, 2), point(30.0, 3)])
    after = append(trial, [point(40.0, 4)])
    assert [(p.step, p.value) for p in trial.read_points(SWEEP, 0)] == [
        (0, 0.0),
        (1, 1.0),
        (2, 20.0),
        (3, 30.0),
        (4, 40.0),
    ]
    assert after.metrics == {"loss": MetricStats(last=40.0, count=5, min=0.0, max=40.0)}
    assert after.n_points == 5
    assert curve(trial) == (0.0, 1.0, 20.0, 30.0, 40.0)


def test_attempt_from_scratch_replaces_points(trial: Store) -> None:
    append(trial, [*at_steps(0, 1), point(1.0, 1, "acc")])
    retry(trial)
    after = append(trial, [point(5.0, 0)])
    assert steps(trial) == [0]
    assert after.metrics == {"loss": MetricStats(last=5.0, count=1, min=5.0, max=5.0)}


def test_first_step_of_attempt_counts_after_points_without_step(trial: Store) -> None:
    append(trial, at_steps(0, 1, 2))
    retry(trial)
    append(trial, at_steps(None, 2))
    assert steps(trial) == [0, 1, None, 2]


def test_attempt_without_steps_replaces_points(trial: Store) -> None:
    append(trial, at_steps(None, None))
    retry(trial)
    assert append(trial, [point(5.0)]).n_points == 1
    assert curve(trial) == (5.0,)


def test_points_without_step_belong_to_preceding_step(trial: Store) -> None:
    append(trial, at_steps(0, None, 1, None))
    retry(trial)
    append(trial, at_steps(1))
    assert steps(trial) == [0, None, 1]


def test_only_first_points_of_attempt_replace_earlier_points(trial: Store) -> None:
    append(trial, at_steps(0, 1, 2))
    retry(trial)
    append(trial, at_steps(2))
    append(trial, at_steps(1, None))
    assert steps(trial) == [0, 1, 2, 1, None]


def test_attempt_after_all_earlier_steps_replaces_no_points(trial: Store) -> None:
    append(trial, at_steps(0, None, 1, None))
    retry(trial)
    assert append(trial, at_steps(2)).n_points == 5
    assert steps(trial) == [0, None, 1, None, 2]


def test_attempt_without_points_replaces_no_points(trial: Store) -> None:
    append(trial, at_steps(0, 1))
    retry(trial)
    append(trial, [])
    retry(trial)
    append(trial, at_steps(1))
    assert steps(trial) == [0, 1]


def test_points_replaced_twice_stay_in_order(trial: Store) -> None:
    append(trial, at_steps(0, 1, 2, 3))
    retry(trial)
    append(trial, at_steps(1, 2))
    retry(trial)
    append(trial, at_steps(2, 3))
    assert steps(trial) == [0, 1, 2, 3]


def test_other_reader_sees_points_without_delay(
    trial: Store, open_another: Callable[[], Store], clock: FakeClock
) -> None:
    append(trial, at_steps(0, 1))
    assert steps(open_another()) == [0, 1]
