"""`smsweep rm` and `smsweep prune` delete what sweeps left in S3 and on this machine, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from moto.iam.access_control import IAMPolicy, PermissionResult

from smsweep.aws import sweep_objects
from smsweep.aws.job_template import mark_source
from smsweep.core.job import JobTemplate
from smsweep.core.sweep import Goal, Metric, Sweep, SweepState
from smsweep.core.trial import MetricPoint, MetricStats, Trial, TrialState
from smsweep.errors import AccessDenied, JobError, NotFound, NotInStore, UsageError
from smsweep.services import aws_setup
from smsweep.services.sweeps import prune, remove
from smsweep.services.views import json_views, model_download
from smsweep.services.workspace import Workspace, read_stored
from smsweep.store.base import Store
from smsweep.util.clock import utc_now
from tests.support.s3_server import FaultyS3, serve_s3
from tests.support.sweeps import a_sweep
from tests.support.working_dir import use_own_workspace

SWEEP, OTHER = "abcd1234", "wxyz9876"
SOURCE = "5" * 64
ASSETS = f"0123456789abcdef-{SOURCE[:16]}"
YAML = "{program: t.py, method: grid, metric: {name: loss}, parameters: {x: {values: [0, 1, 2, 3]}}}"
ROLE = "arn:aws:iam::123456789012:role/trainer"


@dataclass
class Shop:
    """A workspace, a bucket, and the store of the workspace."""

    s3: FaultyS3
    bucket: str
    store: Store
    folder: Path

    def put(self, *keys: str) -> None:
        for key in keys:
            self.s3.client().put_object(Bucket=self.bucket, Key=key, Body=b"12345")

    def keys(self) -> set[str]:
        found = self.s3.client().list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return {item["Key"] for item in found}

    def add(self, sweep_id: str = SWEEP, n: int = 2, job: str = "", source: str = SOURCE) -> None:
        """Add an ended sweep of n trials on SageMaker, whose objective is their number, with its objects."""
        job_yaml = job or f"{{role: {ROLE}, output_path: s3://{self.bucket}/out}}"
        config, template = read_stored(YAML, job_yaml)
        made = Sweep(
            id=sweep_id, config=config, job=template, sweep_yaml=YAML, job_yaml=job_yaml, source_hash=source
        )
        self.store.create_sweep(made)
        self.store.add_trials(sweep_id, 0, [{"x": i} for i in range(n)])
        for number in range(n):
            self.end(sweep_id, number)
            self.put(*self.of_trial(sweep_id, number))
        self.store.set_sweep_state(sweep_id, [SweepState.RUNNING], SweepState.FINISHED)
        self.put(*self.source_of(sweep_id))

    def end(self, sweep_id: str, number: int) -> None:
        self.store.claim(sweep_id, "agent", "sagemaker@us-east-1", 60)
        point = MetricPoint(name="loss", value=float(number), time=utc_now())
        self.store.append_points(sweep_id, number, [point], "1", expect_cursor="")
        uri = f"s3://{self.bucket}/out/smsweep-{sweep_id}-{number}-0/output/model.tar.gz"
        self.store.move(sweep_id, number, [TrialState.RUNNING], TrialState.FINISHED, usage={"model_uri": uri})

    @staticmethod
    def of_trial(sweep_id: str, number: int) -> set[str]:
        return {
            f"out/smsweep-{sweep_id}-{number}-0/output/model.tar.gz",
            f"smsweep/checkpoints/{sweep_id}/{number}/last.pt",
        }

    @staticmethod
    def source_of(sweep_id: str) -> set[str]:
        names = {f"smsweep/assets/{ASSETS}/{name}" for name in ("runtime.zip", "source.tar.gz")}
        return names | {f"smsweep/assets/users/{ASSETS}/{sweep_id}"}


@pytest.fixture(scope="module")
def s3_server() -> Iterator[FaultyS3]:
    with serve_s3() as server:
        yield server


@pytest.fixture
def shop(s3_server: FaultyS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    folder = use_own_workspace(tmp_path, monkeypatch)
    for name, value in s3_server.environ().items():
        monkeypatch.setenv(name, value)
    with Workspace().store(create=True) as store:
        yield Shop(s3_server, s3_server.new_bucket(), store, folder)


def test_rm_deletes_only_the_objects_of_the_sweep(shop: Shop) -> None:
    shop.add()
    shop.put(f"smsweep/jobs/smsweep-{SWEEP}-1-4/output/output.tar.gz", f"out/smsweep-{SWEEP}-agent-0/output/x")
    others = {
        f"out/smsweep-{SWEEP}5-0-0/output/model.tar.gz",  # of a sweep whose id starts with this id
        f"out/smsweep-{SWEEP}-1-0-0/output/model.tar.gz",
        f"out/deep/smsweep-{SWEEP}-0-0/output/model.tar.gz",
        f"smsweep/checkpoints/{SWEEP}5/0/last.pt",
        f"smsweep/checkpoints/{SWEEP}/notes.txt",
        f"smsweep/assets/0123456789abcdef-{'6' * 16}/source.tar.gz",
        f"backup/smsweep/checkpoints/{SWEEP}/0/last.pt",
        "out/mine.csv",
    }
    shop.put(*others)
    (removal,) = remove.plan_removal([SWEEP], s3=True)
    assert (len(removal.objects), removal.states, removal.versioned) == (9, {"finished": 2}, ())
    assert remove.remove([SWEEP], s3=True) == [SWEEP]
    assert shop.keys() == others
    with pytest.raises(NotInStore):
        shop.store.get_sweep(SWEEP)


def test_rm_without_s3_keeps_the_objects_and_reports_their_place(shop: Shop) -> None:
    shop.add()
    before = shop.keys()
    (removal,) = remove.plan_removal([SWEEP])
    assert f"s3://{shop.bucket}/out/" in removal.kept_uris
    remove.carry_out_removal([removal])
    assert shop.keys() == before


def test_rm_of_a_trial_deletes_only_its_objects(shop: Shop) -> None:
    shop.add()
    shop.put(*shop.of_trial(SWEEP, 10))
    expected = shop.keys() - shop.of_trial(SWEEP, 1)
    remove.remove([f"{SWEEP}/1"], s3=True)
    assert shop.keys() == expected


def test_source_is_deleted_with_the_last_sweep_that_uses_it(shop: Shop) -> None:
    shop.add()
    shop.add(OTHER)
    (removal,) = remove.plan_removal([SWEEP], s3=True)
    assert removal.source_users == (OTHER,)
    remove.carry_out_removal([removal])
    assert shop.source_of(OTHER) <= shop.keys()
    remove.remove([OTHER], s3=True)
    assert shop.keys() == set()


def test_two_sweeps_with_one_source_are_removed_in_one_call(shop: Shop) -> None:
    shop.add()
    shop.add(OTHER)
    assert remove.remove([SWEEP, f"{SWEEP}/0", OTHER], s3=True) == [SWEEP, OTHER]
    assert shop.keys() == set()


def test_source_that_a_sweep_of_another_store_uses_is_kept(shop: Shop) -> None:
    shop.add()
    mark_source(JobTemplate(), f"s3://{shop.bucket}/smsweep/assets/{ASSETS}", OTHER, shop.s3.environ())
    remove.remove([SWEEP], s3=True)
    assert shop.keys() == shop.source_of(OTHER)


def test_default_bucket_has_the_region_of_the_jobs(shop: Shop) -> None:
    shop.bucket = "sagemaker-us-east-1-123456789012"
    shop.s3.client().create_bucket(Bucket=shop.bucket)
    shop.add(job=f"{{role: {ROLE}}}")
    shop.put(f"smsweep/jobs/smsweep-{SWEEP}-0-0/output/output.tar.gz")
    remove.remove([SWEEP], s3=True)
    assert shop.keys() == set()


def test_missing_bucket_has_no_objects(shop: Shop) -> None:
    shop.add(
        job=f"{{role: {ROLE}, output_path: s3://{shop.bucket}/out, checkpoint_s3_uri: s3://no-such-bucket/x}}"
    )
    assert remove.remove([SWEEP], s3=True) == [SWEEP]


@contextmanager
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(sweep_objects, "BATCH", 2)
        patch.setattr(sweep_objects, "PAUSES_S", (0.0,))
        yield


def test_objects_are_deleted_in_batches_and_throttled_keys_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.add()
    counted: list[int] = []
    fault = shop.s3.keep_keys(f"/{shop.bucket}*", "SlowDown")
    with small_batches(monkeypatch):
        remove.carry_out_removal(remove.plan_removal([SWEEP], s3=True), counted.append)
    assert (counted, fault.hits, shop.keys()) == ([2, 2, 2, 1], 1, set())
    assert shop.s3.count("POST", f"/{shop.bucket}*") == 5


def test_keys_that_s3_does_not_delete_are_reported_and_the_sweep_stays(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.add()
    shop.s3.keep_keys(f"/{shop.bucket}*", "AccessDenied")
    with small_batches(monkeypatch), pytest.raises(AccessDenied) as caught:
        remove.remove([SWEEP], s3=True)
    assert "7 of 7 objects were not deleted" in str(caught.value)
    assert "smsweep iam --with-delete" in str(caught.value)
    assert f"s3://{shop.bucket}/out/smsweep-{SWEEP}-0-0/output/model.tar.gz: AccessDenied" in str(caught.value)
    assert shop.store.get_sweep(SWEEP).state is SweepState.FINISHED
    remove.remove([SWEEP], s3=True)
    assert shop.keys() == set()


def test_key_with_control_characters_is_deleted(shop: Shop) -> None:
    shop.add()
    shop.put(f"smsweep/checkpoints/{SWEEP}/0/\x01.pt", f"smsweep/checkpoints/{SWEEP}/0/a b&<\u00e9>.pt")
    remove.remove([SWEEP], s3=True)
    assert shop.keys() == set()


def test_policy_with_delete_allows_rm(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.add()
    policy = aws_setup.policies(sweep=SWEEP, with_delete=True)["launcher"]
    for name, value in shop.s3.new_role(policy).items():
        monkeypatch.setenv(name, value)
    with shop.s3.policies_enforced():  # without deletion: moto checks the bucket, and AWS each object
        (removal,) = remove.plan_removal([SWEEP], s3=True)
    for granted in (policy, aws_setup.policies(sweep=SWEEP)["launcher"]):
        document = IAMPolicy(json.dumps(granted))
        arns = [f"arn:aws:s3:::{each.bucket}/{each.key}" for each in removal.objects]
        allowed = {document.is_action_permitted("s3:DeleteObject", arn) for arn in arns}
        assert allowed == {PermissionResult.PERMITTED if granted is policy else PermissionResult.NEUTRAL}


def test_interrupted_rm_can_be_repeated(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.add()
    shop.store.set_sweep_state(SWEEP, [SweepState.FINISHED], SweepState.PAUSED)

    def interrupt(n: int) -> None:
        raise KeyboardInterrupt

    with small_batches(monkeypatch), pytest.raises(KeyboardInterrupt):
        remove.carry_out_removal(remove.plan_removal([SWEEP], s3=True), interrupt)
    assert (len(shop.keys()), shop.store.get_sweep(SWEEP).state) == (5, SweepState.PAUSED)
    remove.remove([SWEEP], s3=True)
    assert shop.keys() == set()


def test_versioned_bucket_is_reported(shop: Shop) -> None:
    shop.s3.client().put_bucket_versioning(Bucket=shop.bucket, VersioningConfiguration={"Status": "Enabled"})
    shop.add()
    (removal,) = remove.plan_removal([SWEEP], s3=True)
    assert removal.versioned == (shop.bucket,)


def local_job(shop: Shop, sweep_id: str, number: int) -> Path:
    job = Workspace().jobs_dir / f"smsweep-{sweep_id}-{number}-0"
    (job / "ml" / "model").mkdir(parents=True)
    (job / "ml" / "model" / "weights").write_text("12345")
    (job / "output.log").write_text("line")
    return job


def test_rm_deletes_a_source_snapshot_that_no_other_sweep_uses(shop: Shop) -> None:
    bundle = Workspace().bundles_dir / f"{SOURCE}.tar.gz"
    bundle.parent.mkdir()
    bundle.write_bytes(b"source")
    shop.add()
    shop.add(OTHER)
    assert remove.plan_removal([SWEEP])[0].bundle is None
    remove.remove([SWEEP])
    assert bundle.exists()
    assert remove.plan_removal([OTHER])[0].bundle == bundle
    remove.remove([OTHER])
    assert not bundle.exists()


def test_rm_keeps_jobs_of_a_sweep_whose_id_starts_with_the_id(shop: Shop) -> None:
    shop.add("abcd", 1)
    own, other = local_job(shop, "abcd", 0), local_job(shop, "abcd-7", 0)
    remove.remove(["abcd"])
    assert (own.exists(), other.exists()) == (False, True)


def test_prune_keeps_the_best_trials(shop: Shop) -> None:
    shop.add(n=4)
    jobs = [local_job(shop, SWEEP, number) for number in range(4)]
    pruning = prune.plan_pruning(keep_best=2)
    (pruned,) = pruning.sweeps
    assert ([trial.number for trial in pruned.trials], pruned.kept) == ([2, 3], (0, 1))
    assert (pruned.job_folders, pruned.local_bytes) == (2, 10)
    prune.carry_out_pruning(pruning)
    assert shop.keys() == shop.of_trial(SWEEP, 0) | shop.of_trial(SWEEP, 1)  # an agent uploads the source again
    assert [(job / "ml").exists() for job in jobs] == [True, True, False, False]
    assert all((job / "output.log").exists() for job in jobs)
    assert prune.plan_pruning(keep_best=2).sweeps == ()


def test_pruned_trial_says_so(shop: Shop) -> None:
    shop.add()
    prune.carry_out_pruning(prune.plan_pruning([SWEEP], keep_best=1))
    assert json_views.show_trial(f"{SWEEP}/1")["pruned_at"]
    assert json_views.show_trial(f"{SWEEP}/0")["pruned_at"] is None
    with pytest.raises(NotFound, match=r"`smsweep prune` deleted its model .* smsweep reproduce abcd1234/1"):
        model_download.download_model(SWEEP, 1, shop.folder / "model")


def test_prune_keeps_trials_and_sources_that_are_not_old_enough(shop: Shop) -> None:
    shop.add()
    assert prune.plan_pruning(older_than=timedelta(days=30)).sweeps == ()
    later = utc_now() + timedelta(days=31)
    (pruned,) = prune.plan_pruning(older_than=timedelta(days=30), now=later).sweeps
    assert {each.key for each in pruned.objects} == shop.keys()


def test_prune_keeps_active_trials_and_the_source_of_a_running_sweep(shop: Shop) -> None:
    shop.add()
    shop.store.set_sweep_state(SWEEP, [SweepState.FINISHED], SweepState.RUNNING)
    shop.store.add_trials(SWEEP, 2, [{"x": 2}])
    shop.store.claim(SWEEP, "agent", "sagemaker@us-east-1", 60)
    shop.put(*shop.of_trial(SWEEP, 2))
    prune.carry_out_pruning(prune.plan_pruning(keep_best=0))
    assert shop.keys() == shop.of_trial(SWEEP, 2) | shop.source_of(SWEEP)


def test_prune_keeps_paused_trials_until_their_sweep_has_ended(shop: Shop) -> None:
    shop.add()
    shop.store.set_sweep_state(SWEEP, [SweepState.FINISHED], SweepState.RUNNING)
    shop.store.add_trials(SWEEP, 2, [{"x": 2}])
    shop.store.claim(SWEEP, "agent", "sagemaker@us-east-1", 60)
    shop.put(*shop.of_trial(SWEEP, 2))
    shop.store.move(SWEEP, 2, [TrialState.RUNNING], TrialState.STOPPING, asked_by="pause")
    shop.store.move(SWEEP, 2, [TrialState.STOPPING], TrialState.STOPPED)
    prune.carry_out_pruning(prune.plan_pruning(keep_best=0))
    assert shop.keys() == shop.of_trial(SWEEP, 2) | shop.source_of(SWEEP)
    shop.store.set_sweep_state(SWEEP, [SweepState.RUNNING], SweepState.FINISHED)
    prune.carry_out_pruning(prune.plan_pruning(keep_best=0))
    assert shop.keys() == set()


def test_prune_keeps_the_source_that_a_sweep_of_another_store_uses(shop: Shop) -> None:
    shop.add()
    shop.put(f"smsweep/assets/users/{ASSETS}/{OTHER}")
    prune.carry_out_pruning(prune.plan_pruning(keep_best=0))
    assert shop.keys() == shop.source_of(SWEEP) | shop.source_of(OTHER)


def test_prune_deletes_a_shared_source_once(shop: Shop) -> None:
    shop.add()
    shop.add(OTHER)
    objects = [each.uri for pruned in prune.plan_pruning(keep_best=1).sweeps for each in pruned.objects]
    assert len(objects) == len(set(objects)) == 2 * 2 + 4


def test_prune_skips_a_sweep_without_a_best_trial(shop: Shop) -> None:
    shop.store.create_sweep(replace(a_sweep(), sweep_yaml=YAML.replace("metric: {name: loss}, ", "")))
    shop.store.add_trials(SWEEP, 0, [{"x": 0}])
    shop.end(SWEEP, 0)
    assert list(prune.plan_pruning(keep_best=1).skipped) == [SWEEP]


def test_trial_that_is_queued_again_keeps_its_files(shop: Shop) -> None:
    shop.add()
    shop.store.set_sweep_state(SWEEP, [SweepState.FINISHED], SweepState.RUNNING)
    shop.store.add_trials(SWEEP, 2, [{"x": 2}])
    shop.store.move(SWEEP, 2, [TrialState.PENDING], TrialState.KILLED)
    shop.put(*shop.of_trial(SWEEP, 2))
    pruning = prune.plan_pruning(keep_best=0)
    shop.store.move(SWEEP, 2, [TrialState.KILLED], TrialState.PENDING)
    prune.carry_out_pruning(pruning)
    assert shop.of_trial(SWEEP, 2) <= shop.keys()


def test_trial_whose_model_cannot_be_deleted_is_not_noted_as_pruned(shop: Shop) -> None:
    shop.add()
    job = local_job(shop, SWEEP, 1)
    shop.s3.keep_keys(f"/{shop.bucket}*", "AccessDenied")
    with pytest.raises(JobError):
        prune.carry_out_pruning(prune.plan_pruning(keep_best=1))
    assert json_views.show_trial(f"{SWEEP}/1")["pruned_at"] is None
    assert (job / "ml").exists()


def test_prune_needs_a_selection(shop: Shop) -> None:
    with pytest.raises(UsageError, match="--keep-best K, --older-than AGE"):
        prune.plan_pruning()


@pytest.mark.parametrize(("text", "hours"), [("90m", 1.5), ("12h", 12), ("30d", 720), ("1.5w", 252)])
def test_age_has_a_unit(text: str, hours: float) -> None:
    assert prune.parse_age(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["30", "d", "-1d", "1y", "99999999d", "", "nand"])
def test_other_age_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        prune.parse_age(text)


def ended(number: int, value: float, state: TrialState = TrialState.FINISHED, name: str = "loss") -> Trial:
    return Trial(number=number, params={}, state=state, metrics={name: MetricStats().add(value)})


def test_best_trials_have_ended_well() -> None:
    trials = [
        ended(0, 0.1, TrialState.FAILED),
        ended(1, 0.2, TrialState.RUNNING),
        ended(2, 0.4, TrialState.STOPPED),
        ended(3, 0.3),
        ended(4, 0.5),
    ]
    assert prune.best_numbers(a_sweep(), trials, 2) == {2, 3}
    config = replace(a_sweep().config, metric=Metric(name="loss", goal=Goal.MAXIMIZE))
    assert prune.best_numbers(replace(a_sweep(), config=config), trials, 1) == {4}


def test_best_assignments_keep_all_their_repeats() -> None:
    sweep = replace(a_sweep(), job=JobTemplate(repeats=2))
    trials = [ended(0, 1.0), ended(1, 9.0), ended(2, 4.0), ended(3, 4.0), ended(4, 8.0), ended(5, 8.0)]
    assert prune.best_numbers(sweep, trials, 1) == {2, 3}
    unknown = [*trials, ended(6, 9.0), ended(7, 9.0, TrialState.RUNNING)]
    assert prune.best_numbers(sweep, unknown, 1) == {2, 3, 6, 7}


def test_confirmed_best_trial_is_kept_with_its_repeats() -> None:
    trials = [ended(0, 0.5), ended(1, 1.0), ended(2, 2.0), ended(3, 3.0), ended(4, 4.0)]
    repeats = [(0, 1.9), (1, 1.1), (0, 2.1), (1, 0.9)]
    trials += [replace(ended(5 + i, value), confirms=of) for i, (of, value) in enumerate(repeats)]
    assert prune.best_numbers(a_sweep(), trials, 1) == {1, 6, 8}


def test_pareto_front_is_kept() -> None:
    metrics = (Metric(name="loss"), Metric(name="cost"))
    sweep = replace(a_sweep(), config=replace(a_sweep().config, metric=None, metrics=metrics))
    trials = [
        replace(ended(i, loss), summary={"cost": cost}) for i, (loss, cost) in enumerate([(1, 2), (2, 1), (3, 3)])
    ]
    assert prune.best_numbers(sweep, trials, 1) == {0, 1}
