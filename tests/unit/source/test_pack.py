import os
import random
import tarfile
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsweep.errors import SourceError
from smsweep.secrets.scan import scan_text
from smsweep.source.bundle import content_hash, extract, open_bundle
from smsweep.source.collect import SourceFile, collect
from smsweep.source.pack import hash_files, open_listed, pack

parts = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8)
contents = st.tuples(st.binary(max_size=40), st.booleans())
trees = st.dictionaries(st.tuples(st.sampled_from(("", "d/", "d/e/")), parts), contents, min_size=1, max_size=6)


def make_tree(root: Path, tree: list[tuple[str, tuple[bytes, bool]]], mtime: int) -> list[SourceFile]:
    files = []
    for name, (data, is_executable) in tree:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(path.stat().st_mode & 0o666 | (0o100 if is_executable else 0))
        os.utime(path, (mtime, mtime))
        files.append(SourceFile(name=name, path=path, size=len(data), is_executable=is_executable))
    return files


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "source/lib").mkdir(parents=True)
    (tmp_path / "source/train.py").write_text("print('hello')\n")
    (tmp_path / "source/lib/run.sh").write_text("true\n")
    (tmp_path / "source/lib/run.sh").chmod(0o755)
    yield tmp_path / "source"


@settings(max_examples=60, deadline=None)
@given(tree=trees, order=st.randoms(use_true_random=False), umask=st.sampled_from((0o022, 0o077, 0o002)))
def test_equal_content_gives_equal_bytes(
    tree: dict[tuple[str, str], tuple[bytes, bool]], order: random.Random, umask: int
) -> None:
    listing = [(f"{folder}x{name}", content) for (folder, name), content in tree.items()]
    shuffled = order.sample(listing, len(listing))
    with TemporaryDirectory() as folder:
        first = pack(make_tree(Path(folder, "a"), listing, mtime=1), Path(folder, "bundles-a"))
        before = os.umask(umask)
        try:
            second = pack(make_tree(Path(folder, "b"), shuffled, mtime=10**9), Path(folder, "bundles-b"))
        finally:
            os.umask(before)
        assert first.hash == second.hash
        assert first.path.read_bytes() == second.path.read_bytes()


@settings(max_examples=60, deadline=None)
@given(tree=trees)
def test_packed_files_unpack_equal(tree: dict[tuple[str, str], tuple[bytes, bool]]) -> None:
    listing = [(f"{folder}x{name}", content) for (folder, name), content in tree.items()]
    with TemporaryDirectory() as folder:
        files = make_tree(Path(folder, "a"), listing, mtime=1)
        bundle = pack(files, Path(folder, "bundles"))
        assert extract(bundle.path, Path(folder, "out")) == bundle == open_bundle(bundle.path)
        out = {
            path.relative_to(Path(folder, "out")).as_posix(): (
                path.read_bytes(),
                bool(path.stat().st_mode & 0o100),
            )
            for path in Path(folder, "out").rglob("*")
            if path.is_file()
        }
        assert out == dict(listing)


@pytest.mark.parametrize("change", ["content", "name", "mode"])
def test_different_sources_have_different_hashes(source: Path, change: str) -> None:
    before = hash_files(collect(source))
    if change == "content":
        (source / "train.py").write_text("print('hollo')\n")
    elif change == "name":
        (source / "train.py").rename(source / "main.py")
    else:
        (source / "train.py").chmod(0o755)
    assert hash_files(collect(source)) != before


def test_hash_is_stable_between_versions(source: Path) -> None:
    """Sweeps, S3 keys and tags contain the hash: a change makes all existing bundles unusable."""
    assert hash_files(collect(source)) == "469037d632ad50b9d10ca86cb022ffbe1b6fea2f1b75c22b9d0411b1a6476690"


def test_archive_has_no_data_of_this_machine(source: Path, tmp_path: Path) -> None:
    bundle = pack(collect(source), tmp_path / "bundles")
    with tarfile.open(bundle.path) as tar:
        headers = [(m.name, m.mode, m.mtime, m.uid, m.gid, m.uname, m.gname) for m in tar]
    assert headers == [("lib/run.sh", 0o755, 0, 0, 0, "", ""), ("train.py", 0o644, 0, 0, 0, "", "")]
    assert bundle.path.read_bytes()[3:8] == b"\0\0\0\0\0"  # gzip: no flags (so no file name), no time


def test_pack_and_hash_files_give_the_same_hash(source: Path, tmp_path: Path) -> None:
    bundle = pack(collect(source), tmp_path / "bundles")
    assert bundle.hash == hash_files(collect(source)) == content_hash(bundle.members)
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [f"{bundle.hash}.tar.gz"]


def test_intact_bundle_is_reused(source: Path, tmp_path: Path) -> None:
    first = pack(collect(source), tmp_path / "bundles")
    inode = first.path.stat().st_ino
    assert pack(collect(source), tmp_path / "bundles").path.stat().st_ino == inode


def test_damaged_bundle_is_replaced(source: Path, tmp_path: Path) -> None:
    bundle = pack(collect(source), tmp_path / "bundles")
    bundle.path.write_bytes(bundle.path.read_bytes()[:-20])
    assert open_bundle(pack(collect(source), tmp_path / "bundles").path) == bundle


@pytest.mark.parametrize("data", [b"longer than it was\n", b"shorter"])
def test_file_with_changed_size_is_reported(source: Path, tmp_path: Path, data: bytes) -> None:
    files = collect(source)
    (source / "train.py").write_bytes(data)
    with pytest.raises(SourceError, match=r"train.py: changed or was removed"):
        pack(files, tmp_path / "bundles")


def test_file_written_while_it_is_read_is_reported(source: Path) -> None:
    (file,) = (file for file in collect(source) if file.name == "train.py")
    with pytest.raises(SourceError, match=r"train.py: changed or was removed"), open_listed(file) as reader:
        reader.read(file.size)
        (source / "train.py").write_bytes(b"x" * file.size)


def test_hashed_content_is_packed_content(source: Path, tmp_path: Path) -> None:
    files = collect(source)
    (source / "train.py").write_bytes(b"print('jello')\n")  # same length
    bundle = pack(files, tmp_path / "bundles")
    extract(bundle.path, tmp_path / "out")
    assert (tmp_path / "out/train.py").read_bytes() == b"print('jello')\n"


SECRET = "token = '" + "q7Zr2Lw9Xc4Vb6Nm1Kj8" + "'\n"  # in two parts: this file is scanned, too


def test_scanned_content_is_packed_content(source: Path, tmp_path: Path) -> None:
    (source / "train.py").write_text("#" * (len(SECRET) - 1) + "\n")
    files = collect(source)
    (source / "train.py").write_text(SECRET)  # same length
    with pytest.raises(SourceError, match=r"train.py:1: token = \*\*\*"):
        hash_files(files)
    with pytest.raises(SourceError, match=r"train.py:1: token = \*\*\*"):
        pack(files, tmp_path / "bundles")
    assert not (tmp_path / "bundles").exists()


def test_secrets_in_configs_and_files_are_reported_together(source: Path, tmp_path: Path) -> None:
    (source / "train.py").write_text(SECRET)
    with pytest.raises(SourceError, match=r"(?s)job\.yaml:1: .*train\.py:1: "):
        pack(collect(source), tmp_path / "bundles", other_findings=scan_text("job.yaml", SECRET))


def test_file_that_may_hold_secrets_is_packed(source: Path, tmp_path: Path) -> None:
    (source / "train.py").write_text(SECRET)
    files = [replace(file, may_hold_secrets=True) for file in collect(source)]
    assert pack(files, tmp_path / "bundles").hash == hash_files(files)


def test_removed_file_is_reported_and_leaves_no_bundle(source: Path, tmp_path: Path) -> None:
    files = collect(source)
    (source / "train.py").unlink()
    with pytest.raises(SourceError, match=r"train.py: changed or was removed"):
        pack(files, tmp_path / "new" / "bundles")
    assert not (tmp_path / "new").exists()


def test_unreadable_file_is_reported(source: Path, tmp_path: Path) -> None:
    files = collect(source)
    (source / "train.py").unlink()
    (source / "train.py").mkdir()
    with pytest.raises(SourceError, match=r"train.py: cannot be read: Is a directory"):
        hash_files(files)


def test_unwritable_folder_is_reported(source: Path, tmp_path: Path) -> None:
    (tmp_path / "bundles").write_text("in the way")
    with pytest.raises(SourceError, match=r"bundles: the source bundle cannot be written"):
        pack(collect(source), tmp_path / "bundles")


@pytest.mark.slow
def test_packing_needs_little_memory(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with (tmp_path / "source/big.bin").open("wb") as file:
        file.truncate(64 * 1024**2)
    files = collect(tmp_path / "source")
    tracemalloc.start()
    try:
        bundle = pack(files, tmp_path / "bundles")
        open_bundle(bundle.path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 1024**2
