import os
import socket
from pathlib import Path

import pytest

from smsweep.errors import SourceError
from smsweep.source.collect import MANY_FILES, SourceFile, collect, list_files, recordable, why_excluded
from smsweep.util.terminal_text import human_size


def write(root: Path, *names: str, text: str = "x") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names_in(root: Path) -> list[str]:
    return [file.name for file in collect(root)]


def test_files_are_sorted_with_size_and_mode(tmp_path: Path) -> None:
    write(tmp_path, "train.py", "lib/run.sh", "lib-x")
    (tmp_path / "lib/run.sh").chmod(0o755)
    assert [(file.name, file.size, file.is_executable) for file in collect(tmp_path)] == [
        ("lib-x", 1, False),
        ("lib/run.sh", 1, True),
        ("train.py", 1, False),
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("secrets.env", "a/secrets.env", ".env", ".env.local", ".netrc", ".aws/credentials", "key.pem", "id_rsa"),
        *(".git/config", "sub/.git", "__pycache__/a.pyc", "a/b.pyc", ".venv/bin/x", "node_modules/x/y.js"),
        *(".smsweep/store.db", "wandb/run-20260101_000000-abc/x", "a/wandb/settings", "wandb/offline-run-1/x"),
    ],
)
def test_keys_caches_and_old_logs_are_excluded(tmp_path: Path, name: str) -> None:
    write(tmp_path, "train.py", name)
    write(tmp_path, ".smsweepignore", text="!*\n!*/\n")
    assert names_in(tmp_path) == [".smsweepignore", "train.py"]


def test_virtual_environments_are_excluded(tmp_path: Path) -> None:
    write(tmp_path, "train.py", "env39/pyvenv.cfg", "env39/bin/python")
    assert names_in(tmp_path) == ["train.py"]


def test_module_named_wandb_is_included(tmp_path: Path) -> None:
    write(tmp_path, "wandb/__init__.py", "wandb/run.py")
    assert names_in(tmp_path) == ["wandb/__init__.py", "wandb/run.py"]


def test_smsweepignore_overrides_gitignore_at_any_level(tmp_path: Path) -> None:
    write(tmp_path, "a/model.bin", "a/notes.md", "b/x.csv")
    write(tmp_path, ".gitignore", "a/.gitignore", text="*.bin\n*.csv\n")
    write(tmp_path, ".smsweepignore", text="!model.bin\n*.md\n.*ignore\n")
    assert names_in(tmp_path) == ["a/model.bin"]


def test_requirements_are_included_if_git_ignores_them(tmp_path: Path) -> None:
    write(tmp_path, "requirements.txt", "a/requirements.txt", "notes.txt")
    write(tmp_path, ".gitignore", text="*.txt\n.gitignore\n")
    assert names_in(tmp_path) == ["requirements.txt"]


def test_requirements_are_excluded_by_smsweepignore(tmp_path: Path) -> None:
    write(tmp_path, "requirements.txt", "train.py")
    write(tmp_path, ".smsweepignore", text="requirements.txt\n.smsweepignore\n")
    assert names_in(tmp_path) == ["train.py"]


def test_excluded_folders_are_not_collected(tmp_path: Path) -> None:
    write(tmp_path, "train.py", "state/store.db")
    assert [file.name for file in collect(tmp_path, excluded=[tmp_path / "state"])] == ["train.py"]


def test_link_is_replaced_by_its_content(tmp_path: Path) -> None:
    write(tmp_path, "lib/a.py", text="abc")
    (tmp_path / "one.py").symlink_to("lib/a.py")
    (tmp_path / "pkg").symlink_to("lib")
    assert [(file.name, file.size) for file in collect(tmp_path)] == [
        ("lib/a.py", 3),
        ("one.py", 3),
        ("pkg/a.py", 3),
    ]


def test_emacs_lock_file_is_ignored(tmp_path: Path) -> None:
    write(tmp_path, "train.py")
    (tmp_path / ".#train.py").symlink_to("me@laptop.4711:1795629646")
    assert names_in(tmp_path) == ["train.py"]


def test_source_folder_can_be_a_link(tmp_path: Path) -> None:
    write(tmp_path, "real/train.py")
    (tmp_path / "link").symlink_to("real")
    assert names_in(tmp_path / "link") == ["train.py"]


@pytest.mark.parametrize("target", ["secrets.env", ".aws/credentials", ".aws"])
def test_link_to_a_key_is_excluded(tmp_path: Path, target: str) -> None:
    write(tmp_path, "train.py", "secrets.env", ".aws/credentials")
    (tmp_path / "settings").symlink_to(target)
    assert names_in(tmp_path) == ["train.py"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("../outside", "leads out of the source"),
        ("gone", "the link is broken"),
        ("link", "the link is broken"),
        (".", "a folder above it"),
    ],
)
def test_link_that_cannot_be_packed_is_reported(tmp_path: Path, target: str, message: str) -> None:
    write(tmp_path, "src/train.py", "outside")
    (tmp_path / "src/link").symlink_to(target)
    with pytest.raises(SourceError, match=rf"src/link: .*{message}"):
        collect(tmp_path / "src")


def test_link_to_a_parent_folder_is_reported(tmp_path: Path) -> None:
    write(tmp_path, "a/b/train.py")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    with pytest.raises(SourceError, match=r"a/b/up: the link leads to a folder above it"):
        collect(tmp_path)


def test_ignored_link_can_lead_anywhere(tmp_path: Path) -> None:
    write(tmp_path, "src/train.py", "outside/data.bin")
    (tmp_path / "src/data").symlink_to("../outside")
    write(tmp_path, "src/.smsweepignore", text="data/\n")
    assert names_in(tmp_path / "src") == [".smsweepignore", "train.py"]


def test_multiplying_links_exceed_the_limit(tmp_path: Path) -> None:
    (tmp_path / "level0").mkdir()
    for level in range(1, 40):
        folder = tmp_path / f"level{level}"
        folder.mkdir()
        for name in ("x", "y"):
            (folder / name).symlink_to(tmp_path / f"level{level - 1}")
    with pytest.raises(SourceError, match=r"more than 1,000 files and folders, many of them in level\d+/"):
        collect(tmp_path, max_entries=1000)


def test_many_files_are_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "data").mkdir()
    for number in range(MANY_FILES):
        (tmp_path / "data" / str(number)).touch()
    collect(tmp_path)
    assert caplog.messages == []
    (tmp_path / "train.py").touch()
    collect(tmp_path)
    (output,) = caplog.messages
    assert output.startswith(
        f"each trial unpacks 5,001 files of {tmp_path}, many of them in data/; exclude what the script "
    )


def test_pipe_is_reported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match=r"pipe: is a pipe, socket or device"):
        collect(tmp_path)


def test_socket_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is limited to about 100 characters
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock")
        with pytest.raises(SourceError, match=r"sock: is a pipe, socket or device"):
            collect(tmp_path)


def test_non_utf8_name_is_reported(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.py")).write_text("x")
    with pytest.raises(SourceError, match=r"udce9.py': the name is not UTF-8"):
        collect(tmp_path)


def test_binary_ignore_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / ".smsweepignore").write_bytes(b"\xff\xfe\0")
    with pytest.raises(SourceError, match=r"\.smsweepignore: cannot be read as UTF-8"):
        collect(tmp_path)


def test_too_large_source_names_largest_entries_and_fix(tmp_path: Path) -> None:
    write(tmp_path, "train.py", "src/small.py")
    write(tmp_path, "model.bin", text="x" * 40_000)
    for number in range(20):
        write(tmp_path, f"src/data/images/{number}.png", text="x" * 3_000)
    with pytest.raises(SourceError) as caught:
        collect(tmp_path, max_bytes=1024)
    assert str(caught.value).startswith(
        f"{tmp_path}: the source is 98 KiB, more than 1.0 KiB; "
        "largest: src/data/images/ (59 KiB), model.bin (39 KiB), "
    )
    assert f"add what the script does not need to {tmp_path / '.smsweepignore'}" in str(caught.value)


def test_empty_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the source is empty"):
        collect(tmp_path)


def test_missing_source_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere: no such source folder"):
        collect(tmp_path / "nowhere")


def test_file_as_source_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "train.py")
    with pytest.raises(SourceError, match=r"train.py: is a file"):
        collect(tmp_path / "train.py")


def test_too_deep_tree_is_reported(tmp_path: Path) -> None:
    write(tmp_path, "a/" * 100 + "x")
    assert names_in(tmp_path) == ["a/" * 100 + "x"]
    write(tmp_path, "a/" * 101 + "x")
    with pytest.raises(SourceError, match="a: is more than 100 folders deep"):
        collect(tmp_path)


@pytest.mark.parametrize(
    ("n_bytes", "shown"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1536, "1.5 KiB"),
        (300 * 1024**2, "300 MiB"),
        (2 * 1024**4, "2.0 TiB"),
    ],
)
def test_sizes_have_readable_units(n_bytes: int, shown: str) -> None:
    assert human_size(n_bytes) == shown


def test_files_of_an_in_place_folder_are_listed_without_errors(tmp_path: Path) -> None:
    for name in ("train.py", "small.csv", "data/x.csv", "many/0", "big.pt", "sub/.gitignore", "sub/a.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for number in range(1, 1_001):
        (tmp_path / "many" / str(number)).touch()
    (tmp_path / "many" / "more").touch()
    (tmp_path / "sub" / ".gitignore").write_text("*.log\n")
    (tmp_path / "out").symlink_to("/usr")
    (tmp_path / "broken").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "big.pt").open("wb") as file:
        file.truncate(2 * 1024**2)
    listed = list_files(tmp_path, written=[tmp_path / "data"])
    assert [file.name for file in listed] == ["big.pt", "small.csv", "sub/.gitignore", "train.py"]
    assert [file.name for file in recordable(listed)] == ["small.csv", "sub/.gitignore", "train.py"]
    with pytest.raises(SourceError, match="moved or deleted"):
        list_files(tmp_path / "none")


def test_record_keeps_programs_before_large_files(tmp_path: Path) -> None:
    files = [SourceFile(name=f"{n}.csv", path=tmp_path, size=1024**2, is_executable=False) for n in range(70)]
    program = SourceFile(name="z.ipynb", path=tmp_path, size=5 * 1024**2, is_executable=False)
    kept = recordable([*files, program])
    assert program in kept
    assert sum(file.size for file in kept) == 64 * 1024**2


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("data/x.csv", "git ignores it"),
        ("data", "git ignores it"),
        ("sub/own.bin", ".smsweepignore excludes it"),
        (".env", "smsweep never copies it"),
        ("kept/y.csv", ""),
        ("train.py", ""),
    ],
)
def test_reason_for_an_excluded_file(tmp_path: Path, name: str, why: str) -> None:
    for file in ("data/x.csv", "sub/own.bin", "kept/y.csv", "train.py", ".env"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / ".gitignore").write_text("data/\nkept/*\n")
    (tmp_path / ".smsweepignore").write_text("!kept/y.csv\n")
    (tmp_path / "sub" / ".smsweepignore").write_text("*.bin\n")
    assert why_excluded(tmp_path, name) == why


def test_large_source_names_the_inputs_line(tmp_path: Path) -> None:
    for name in ("train.py", "my data/train/a.bin", "my data/train/b.bin"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(100))
    with pytest.raises(SourceError) as caught:
        collect(tmp_path, max_bytes=200)
    folder = tmp_path / "my data" / "train"
    assert f'add inputs: {{train: "file://{folder}"}} to job.yaml and read the path in SM_CHANNEL_TRAIN' in str(
        caught.value
    )
    assert "--in-place" in str(caught.value)
