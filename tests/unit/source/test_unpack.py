import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsweep.errors import SourceError
from smsweep.source.bundle import extract, open_bundle
from smsweep.source.collect import collect
from smsweep.source.pack import pack

Members = list[tuple[tarfile.TarInfo, bytes]]


def member(name: str, data: bytes = b"x", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def write_tar(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/train.py").write_text("print('hello')\n" * 100)
    return pack(collect(tmp_path / "source"), tmp_path / "bundles").path


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "../up", "a/../../up", "..", "a/..", "./a", "a//b", "", "//a", "a/./b"),
        *("a/" * 200 + "x", "a\udce9"),
    ],
)
def test_unsafe_member_name_is_refused(tmp_path: Path, name: str) -> None:
    path = write_tar(tmp_path / "x.tar.gz", [member("fine"), member(name)])
    with pytest.raises(SourceError, match=r"x.tar.gz: "):
        extract(path, tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["x.tar.gz"]


@pytest.mark.parametrize(
    "kind",
    [
        *(tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE),
        *(tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE),
    ],
)
def test_member_that_is_not_a_plain_file_is_reported(tmp_path: Path, kind: bytes) -> None:
    path = write_tar(tmp_path / "x.tar.gz", [member("evil", b"", type=kind, linkname="../../etc/passwd")])
    with pytest.raises(
        SourceError, match=r"x.tar.gz: 'evil' is a link, folder or device|not a valid source bundle"
    ):
        extract(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "headers",
    [
        *({"path": "../up"}, {"path": "/up"}, {"size": "-5"}, {"size": "99999999999999"}),
        *({"GNU.sparse.map": "x"}, {"GNU.sparse.map": "1,2", "GNU.sparse.size": "9"}, {"GNU.sparse.size": "q"}),
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9", "GNU.sparse.name": "../up"},
    ],
)
def test_invalid_extended_header_is_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    path = write_tar(tmp_path / "x.tar.gz", [member("evil", b"abc", pax_headers=headers)])
    with pytest.raises(SourceError, match=r"x.tar.gz: "):
        extract(path, tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["x.tar.gz"]


def test_writing_through_a_link_is_refused(tmp_path: Path) -> None:
    link = member("a", b"", type=tarfile.SYMTYPE, linkname=str(tmp_path))
    path = write_tar(tmp_path / "x.tar.gz", [link, member("a/evil")])
    with pytest.raises(SourceError, match="'a' is a link"):
        extract(path, tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_repeated_member_name_is_reported(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar.gz", [member("a"), member("a", b"y")])
    with pytest.raises(SourceError, match="'a' occurs twice"):
        open_bundle(path)


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_file_in_place_of_a_folder_is_reported(tmp_path: Path, names: tuple[str, str]) -> None:
    path = write_tar(tmp_path / "x.tar.gz", [member(name) for name in names])
    with pytest.raises(SourceError, match="another member of the source has this path"):
        extract(path, tmp_path / "out")


def test_only_the_executable_bit_is_kept(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar.gz", [member("suid", mode=0o6777), member("plain", mode=0o000)])
    extract(path, tmp_path / "out")
    assert [(tmp_path / "out" / name).stat().st_mode & 0o7777 for name in ("suid", "plain")] == [0o755, 0o644]


def test_too_much_content_is_refused_before_reading(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar.gz", [member("small"), member("bomb", b"\0" * 10_000_000)])
    with pytest.raises(SourceError, match="'bomb' exceeds 1,000,000 bytes"):
        extract(path, tmp_path / "out", max_bytes=1_000_000)


@pytest.mark.slow
def test_too_large_header_is_refused(tmp_path: Path) -> None:
    """tarfile reads a long name completely, with any length that its header claims."""
    info, _ = member("././@LongLink", b"", type=tarfile.GNUTYPE_LONGNAME, size=200_000_000)
    with gzip.open(tmp_path / "x.tar.gz", "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(200):
            file.write(b"a" * 1_000_000)
    with pytest.raises(SourceError, match="headers that are too large"):
        open_bundle(tmp_path / "x.tar.gz")


def test_bundle_is_checked_against_the_hash_in_its_name(packed: Path) -> None:
    other = packed.rename(packed.with_name("0" * 64 + ".tar.gz"))
    with pytest.raises(SourceError, match=f"not {'0' * 64}; delete it"):
        open_bundle(other)


def test_bundle_is_checked_against_the_expected_hash(packed: Path, tmp_path: Path) -> None:
    path = packed.rename(tmp_path / "source.tar.gz")
    with pytest.raises(SourceError, match=f"not {'1' * 64}"):
        extract(path, tmp_path / "out", expect="1" * 64)
    assert not (tmp_path / "out").exists()


def test_non_empty_folder_is_not_changed(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("x")
    with pytest.raises(SourceError, match="out: is not an empty folder"):
        extract(packed, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_empty_folder_is_filled(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    extract(packed, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["train.py"]


def test_missing_bundle_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"x.tar.gz: no such source bundle"):
        open_bundle(tmp_path / "x.tar.gz")


@pytest.mark.parametrize("length", [0, 5, 40, -1, -30])
def test_truncated_bundle_is_refused(packed: Path, length: int) -> None:
    packed.write_bytes(packed.read_bytes()[:length])
    with pytest.raises(SourceError, match=r"not a valid source bundle|contains the source"):
        open_bundle(packed)


def flip(data: bytes, places: list[tuple[int, int]]) -> bytes:
    changed = bytearray(data)
    for at, value in places:
        changed[at % len(changed)] = value
    return bytes(changed)


places = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(places=places, is_packed_before=st.booleans())
def test_modified_bundle_is_refused_or_equal(places: list[tuple[int, int]], is_packed_before: bool) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "source").mkdir()
        (Path(folder) / "source" / ("long name " * 15)).write_text("print('hello')\n")
        bundle = pack(collect(Path(folder) / "source"), Path(folder) / "bundles")
        damage: Callable[[bytes], bytes] = lambda data: flip(data, places)  # noqa: E731  # one of two orders
        data = bundle.path.read_bytes()
        bundle.path.write_bytes(damage(data) if is_packed_before else gzip.compress(damage(gzip.decompress(data))))
        try:
            found = extract(bundle.path, Path(folder) / "out")
        except SourceError:
            assert not (Path(folder) / "out").exists()
        else:
            assert found.members == bundle.members
