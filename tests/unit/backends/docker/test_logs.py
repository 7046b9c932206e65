"""Copies of a container's output in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from smsweep.backends.docker.logs import PIECE_BYTES, LogCopy

TIME = b"2026-01-02T03:04:05.%09dZ "
Written = Sequence[tuple[int, bytes]]  # (stream, line without its end), in the order of time


def frames(written: Written, *, loses_line_ends: bool) -> bytes:
    """Return the engine's frames. Pieces of a line have the same time; the last may have lost its end."""
    found = bytearray()
    for number, (stream, line) in enumerate(written):
        pieces = [line[at : at + PIECE_BYTES] for at in range(0, len(line), PIECE_BYTES)] or [b""]
        is_long = len(line) >= PIECE_BYTES
        if len(pieces[-1]) == PIECE_BYTES and not loses_line_ends:
            pieces.append(b"")
        for last, piece in ((piece is pieces[-1], piece) for piece in pieces):
            end = b"\n" if last and not (is_long and loses_line_ends) else b""
            payload = TIME % number + piece + end
            found += bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload
    return bytes(found)


def copied(chunks: Sequence[bytes], file: Path) -> bytes:
    copy = LogCopy(file)
    for chunk in chunks:
        copy.feed(chunk)
    copy.finish()
    copy.close()
    return file.read_bytes()


LINES = st.lists(
    st.tuples(
        st.sampled_from([1, 2]),
        st.one_of(
            st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")),
            st.integers(PIECE_BYTES - 2, 2 * PIECE_BYTES + 2).map(lambda size: b"x" * size),
        ),
    ),
    max_size=6,
)


@given(LINES, st.booleans(), st.data())
def test_lines_are_complete_after_an_interrupted_copy(
    written: Written, loses_line_ends: bool, data: st.DataObject
) -> None:
    stream = frames(written, loses_line_ends=loses_line_ends)
    cut = data.draw(st.integers(0, len(stream)))
    with TemporaryDirectory() as folder:
        file = Path(folder) / "log"
        first = LogCopy(file)  # is interrupted after the cut
        first.feed(stream[:cut])
        first.close()
        middle = data.draw(st.integers(0, len(stream)))
        found = copied([stream[:middle], stream[middle:]], file)
    assert sorted(found.splitlines(keepends=True)) == sorted(
        part for _, line in written for part in (line + b"\n").splitlines(keepends=True)
    )


def test_long_line_is_not_split_by_the_other_stream(tmp_path: Path) -> None:
    long, short = b"o" * (PIECE_BYTES + 5), b"error"
    first, second = frames([(1, long)], loses_line_ends=True), frames([(2, short)], loses_line_ends=True)
    at = PIECE_BYTES + len(TIME % 0) + 8  # after the first piece
    assert copied([first[:at], second, first[at:]], tmp_path / "log") == short + b"\n" + long + b"\n"


def test_line_without_end_is_written_in_parts(tmp_path: Path) -> None:
    endless = frames([(1, b"x" * (5 << 20))], loses_line_ends=True)
    copy = LogCopy(tmp_path / "log")
    copy.feed(endless[: 4 << 20])
    assert (tmp_path / "log").stat().st_size > 2 << 20
    copy.close()
