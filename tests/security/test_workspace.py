"""Boundary between users: files that another user puts into the workspace, or in place of it."""

# One file, because all tests concern one boundary.

from __future__ import annotations

import io
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from smsweep.errors import SourceError, UsageError
from smsweep.services.doctor import examine
from smsweep.services.views.live_store import LiveStore
from smsweep.services.workspace import Workspace
from smsweep.source.runtime_zip import runtime_zip
from smsweep.store.home import check_folder
from tests.docker.users import USER, as_user
from tests.support.desk import WorkingDir, grid

STRANGER = 65534  # the user id of the attacker; the tests themselves run as root
TRAIN = "import smsweep\nsmsweep.log({'loss': smsweep.init().config.x})\n"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as a second user")


@pytest.fixture
def desk() -> Iterator[WorkingDir]:
    """A folder that every user can enter, unlike pytest's folders. The umask of the runner has no effect."""
    folder = Path(tempfile.mkdtemp(prefix="smsweep-users-"))
    folder.chmod(0o755)
    desk = WorkingDir(folder, {"train.py": TRAIN, "sweep.yaml": grid(x=[1, 2])})
    yield desk
    shutil.rmtree(folder)


def stranger(*argv: str, cwd: Path) -> None:
    """Run a system program as the second user."""
    environ = {"PATH": os.environ["PATH"]}
    subprocess.run(argv, user=STRANGER, group=STRANGER, extra_groups=[], cwd=cwd, env=environ, check=True, umask=0)


def home(desk: WorkingDir) -> Path:
    return desk.folder / ".smsweep"


def runtime_of(folder: Path) -> Path:
    return Workspace({"SMSWEEP_DIR": str(folder)}).runtime_zip()


def payload(desk: WorkingDir) -> bytes:
    """Return a runtime that records that it ran. The launcher imports the runtime in the agent's account."""
    created = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(runtime_zip())) as source, zipfile.ZipFile(created, "w") as target:
        for name in source.namelist():
            if name.endswith("/entrypoint.py"):
                code = f"open({str(desk.folder / 'PWNED')!r}, 'w').close()\n"
                text = source.read(name).decode()
                future = "from __future__ import annotations\n"
                target.writestr(name, text.replace(future, future + code, 1))
            elif not name.endswith("/entrypoint.pyc"):
                target.writestr(name, source.read(name))
    return created.getvalue()


def is_safe(desk: WorkingDir) -> bool:
    return not (desk.folder / "PWNED").exists()


# Hostile folders. Each function acts as the second user, and returns the path in the error.


def opened_for_strangers(desk: WorkingDir) -> None:
    desk.folder.chmod(0o1777)


def folder_of_a_stranger(desk: WorkingDir) -> str:
    opened_for_strangers(desk)
    (desk.folder / "payload.zip").write_bytes(payload(desk))
    name = runtime_of(desk.folder / "mine").name
    shutil.rmtree(desk.folder / "mine")
    stranger("mkdir", "-p", ".smsweep/runtime", cwd=desk.folder)
    stranger("cp", "payload.zip", f".smsweep/runtime/{name}", cwd=desk.folder)
    return f"this folder belongs to user nobody (uid {STRANGER})"


def link_of_a_stranger_to_a_folder_of_theirs(desk: WorkingDir) -> str:
    opened_for_strangers(desk)
    stranger("mkdir", "theirs", cwd=desk.folder)
    stranger("ln", "-s", "theirs", ".smsweep", cwd=desk.folder)
    return "this link belongs to user nobody"


def link_of_a_stranger_to_a_folder_of_mine(desk: WorkingDir) -> str:
    opened_for_strangers(desk)
    Workspace({"SMSWEEP_DIR": str(desk.folder / "mine")}).make()
    stranger("ln", "-s", "mine", ".smsweep", cwd=desk.folder)
    return "this link belongs to user nobody"


def own_link_to_a_folder_of_a_stranger(desk: WorkingDir) -> str:
    opened_for_strangers(desk)
    stranger("mkdir", "theirs", cwd=desk.folder)
    home(desk).symlink_to("theirs")
    return "this folder belongs to user nobody"


def folder_that_all_can_write(desk: WorkingDir) -> str:
    home(desk).mkdir()
    home(desk).chmod(0o777)
    return f"other users can write to {home(desk)} (mode 0777)"


def folder_that_its_group_can_write(desk: WorkingDir) -> str:
    home(desk).mkdir()
    home(desk).chmod(0o775)
    return f"run `chmod go-w {home(desk)}`"


def sticky_folder_that_all_can_write(desk: WorkingDir) -> str:
    home(desk).mkdir()
    home(desk).chmod(0o1777)
    return f"other users can write to {home(desk)} (mode 1777)"


def folder_that_was_open_earlier(name: str) -> Callable[[WorkingDir], str]:
    """An entry that the second user created before the folder was protected. Name and depth can vary."""

    def plant(desk: WorkingDir) -> str:
        path = home(desk) / name
        path.parent.mkdir(parents=True)
        path.parent.chmod(0o777)
        kind = "mkdir" if "." not in name else "touch"
        stranger(kind, str(path), cwd=desk.folder)
        for folder in {path.parent, home(desk)}:
            folder.chmod(0o755)
        return f"{path}: this belongs to user nobody"

    return plant


def hard_link_to_a_runtime_of_a_stranger(desk: WorkingDir) -> str:
    opened_for_strangers(desk)
    name = runtime_of(home(desk)).name
    content = (home(desk) / "runtime" / name).read_bytes()
    (desk.folder / "copy.zip").write_bytes(content)
    stranger("cp", "copy.zip", "theirs.zip", cwd=desk.folder)
    (home(desk) / "runtime" / name).unlink()
    os.link(desk.folder / "theirs.zip", home(desk) / "runtime" / name)  # like earlier versions
    return f"{name}: this belongs to user nobody"


def entry_that_its_group_can_write(desk: WorkingDir) -> str:
    Workspace({"SMSWEEP_DIR": str(home(desk))}).make()
    home(desk).chmod(0o755)
    (home(desk) / "jobs").mkdir()
    (home(desk) / "jobs").chmod(0o775)
    return f"run `chmod go-w {home(desk) / 'jobs'}`"


def store_that_all_can_write(desk: WorkingDir) -> str:
    desk.sweep()
    home(desk).chmod(0o711)
    (home(desk) / "store.db").chmod(0o666)
    return f"other users can write to {home(desk) / 'store.db'} (mode 0666)"


def store_that_is_a_link_to_a_strangers(desk: WorkingDir) -> str:
    opened_for_strangers(desk)
    stranger("touch", "theirs.db", cwd=desk.folder)
    Workspace({"SMSWEEP_DIR": str(home(desk))}).make()
    (home(desk) / "store.db").symlink_to(desk.folder / "theirs.db")
    return f"{home(desk) / 'store.db'}: this belongs to user nobody"


def folder_that_all_can_replace(desk: WorkingDir) -> str:
    desk.sweep()
    desk.folder.chmod(0o777)
    return f"every user can write to {desk.folder} (mode 0777), and so replace this folder"


HOSTILE: Mapping[str, Callable[[WorkingDir], str]] = {
    "folder of a stranger": folder_of_a_stranger,
    "link of a stranger to theirs": link_of_a_stranger_to_a_folder_of_theirs,
    "link of a stranger to mine": link_of_a_stranger_to_a_folder_of_mine,
    "link to a folder of a stranger": own_link_to_a_folder_of_a_stranger,
    "all can write": folder_that_all_can_write,
    "group can write": folder_that_its_group_can_write,
    "all can write, sticky": sticky_folder_that_all_can_write,
    "store of a stranger": folder_that_was_open_earlier("store.db"),
    "log of a store of a stranger": folder_that_was_open_earlier("store.db-wal"),
    "jobs of a stranger": folder_that_was_open_earlier("jobs"),
    "runtime of a stranger": folder_that_was_open_earlier("runtime"),
    "assets of a stranger": folder_that_was_open_earlier("assets"),
    "bundles of a stranger": folder_that_was_open_earlier("bundles"),
    "one job of a stranger": folder_that_was_open_earlier("jobs/smsweep-abcd1234-0"),
    "one bundle of a stranger": folder_that_was_open_earlier("bundles/x.tar.gz"),
    "one record of a stranger": folder_that_was_open_earlier("away/note.txt"),
    "hard link": hard_link_to_a_runtime_of_a_stranger,
    "entry for the group": entry_that_its_group_can_write,
    "store for all": store_that_all_can_write,
    "store is a link": store_that_is_a_link_to_a_strangers,
    "folder above for all": folder_that_all_can_replace,
}


@pytest.mark.parametrize("plant", HOSTILE.values(), ids=HOSTILE.keys())
def test_planted_folder_is_refused_with_instructions(desk: WorkingDir, plant: Callable[[WorkingDir], str]) -> None:
    output = plant(desk)
    refused = desk.call("run", "sweep.yaml", code=2)
    assert output in refused.stderr
    assert "SMSWEEP_TRUSTED_DIRS=" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert is_safe(desk)
    assert not list(home(desk).glob("jobs/*/output.log"))


@pytest.mark.parametrize("verb", [("ls",), ("show", "abcd1234"), ("plan", "abcd1234"), ("logs", "abcd1234/0")])
def test_read_only_commands_refuse_a_foreign_folder(desk: WorkingDir, verb: tuple[str, ...]) -> None:
    sweep_id = desk.sweep()
    for path in (home(desk), *home(desk).rglob("*")):
        os.chown(path, STRANGER, STRANGER)
    words = [word.replace("abcd1234", sweep_id) for word in verb]
    assert "this folder belongs to user nobody" in desk.call(*words, code=2).stderr


@pytest.mark.parametrize("verb", ["ui", "emulator"])
def test_servers_do_not_start_in_a_foreign_folder(desk: WorkingDir, verb: str) -> None:
    home(desk).mkdir()
    os.chown(home(desk), STRANGER, STRANGER)
    assert "this folder belongs to user nobody" in desk.call(verb, "--port", "0", code=2).stderr


def test_page_refuses_a_replaced_store(desk: WorkingDir) -> None:
    desk.sweep()
    with closing(LiveStore(Workspace({"SMSWEEP_DIR": str(home(desk))}))) as live:
        assert len(live.sweeps()) == 1
        home(desk).rename(desk.folder / "kept")
        shutil.copytree(desk.folder / "kept", home(desk))
        os.chown(home(desk), STRANGER, STRANGER)
        with pytest.raises(UsageError, match="belongs to user nobody"):
            live.sweeps()


def test_command_in_the_error_makes_the_folder_usable(desk: WorkingDir) -> None:
    for name in ("", "jobs", "runtime", "bundles"):
        (home(desk) / name).mkdir()
        (home(desk) / name).chmod(0o775)
    output = desk.call("run", "sweep.yaml", code=2).stderr
    subprocess.run(shlex.split(output.split("run `")[1].split("`")[0]), check=True)
    desk.run()


def test_trusted_folder_is_used(desk: WorkingDir) -> None:
    opened_for_strangers(desk)
    stranger("mkdir", ".smsweep", cwd=desk.folder)
    output = desk.call("run", "sweep.yaml", code=2).stderr
    name, _, value = output.rsplit("set ", 1)[1].strip().partition("=")
    desk.environ[name] = f"/elsewhere:{shlex.split(value)[0]}"
    sweep_id = desk.run()
    assert [trial["state"] for trial in desk.trials(sweep_id)] == ["finished", "finished"]


@pytest.mark.parametrize("value", ["", ".smsweep", ".", "*", "1", "/", "..", "{folder}", "{folder}/.smsweep/jobs"])
def test_only_the_folder_itself_is_trusted_by_its_absolute_path(desk: WorkingDir, value: str) -> None:
    opened_for_strangers(desk)
    stranger("mkdir", ".smsweep", cwd=desk.folder)
    desk.environ["SMSWEEP_TRUSTED_DIRS"] = value.format(folder=desk.folder)
    assert "belongs to user nobody" in desk.call("ls", code=2).stderr


def test_content_of_a_trusted_folder_is_hashed(desk: WorkingDir) -> None:
    folder_of_a_stranger(desk)
    desk.environ["SMSWEEP_TRUSTED_DIRS"] = str(home(desk))
    desk.run()
    assert is_safe(desk)


@pytest.mark.parametrize(("value", "code"), [(str(STRANGER), 0), ("1", 2), ("", 2), ("-1", 2), ("nobody", 2)])
def test_root_can_use_the_folder_of_the_sudo_user(desk: WorkingDir, value: str, code: int) -> None:
    opened_for_strangers(desk)
    stranger("mkdir", "-m", "755", ".smsweep", cwd=desk.folder)
    desk.environ["SUDO_UID"] = value
    desk.call("run", "sweep.yaml", "-q", code=code)


def test_variable_of_sudo_counts_for_root_only(desk: WorkingDir) -> None:
    home(desk).mkdir()

    def look() -> None:
        with pytest.raises(UsageError, match="belongs to user root"):
            check_folder(home(desk), {"SUDO_UID": "0"})

    as_user(look, may_use_engine=False)


def test_user_refuses_a_folder_of_root(desk: WorkingDir) -> None:
    home(desk).mkdir()

    def look() -> None:
        with pytest.raises(UsageError, match=r"belongs to user root \(uid 0\), you are uid 54321,"):
            check_folder(home(desk), {})

    as_user(look, may_use_engine=False)


def test_files_of_root_in_a_users_folder_are_accepted(desk: WorkingDir) -> None:
    (home(desk) / "jobs").mkdir(parents=True)
    os.chown(home(desk), USER, USER)
    as_user(lambda: check_folder(home(desk), {}), may_use_engine=False)


def test_folder_in_a_shared_sticky_folder_is_used(desk: WorkingDir) -> None:
    desk.folder.chmod(0o1777)
    desk.run()


def test_folder_in_a_project_of_a_group_is_used(desk: WorkingDir) -> None:
    """Systems with a private group per user have umask 002, so that every project is group-writable."""
    desk.folder.chmod(0o2775)
    desk.run()


def test_replaceable_folder_is_used_when_only_its_owner_has_access(desk: WorkingDir) -> None:
    desk.folder.chmod(0o700)
    (desk.folder / "open").mkdir()
    (desk.folder / "open").chmod(0o777)
    desk.environ["SMSWEEP_DIR"] = str(desk.folder / "open" / ".smsweep")
    desk.run()


def test_folder_is_not_created_where_all_users_can_replace_it(desk: WorkingDir) -> None:
    desk.folder.chmod(0o777)
    desk.call("run", "sweep.yaml", code=2)
    assert not home(desk).exists()


def test_doctor_reports_an_untrusted_folder(desk: WorkingDir) -> None:
    home(desk).mkdir(mode=0o755)
    os.chown(home(desk), STRANGER, STRANGER)
    found = {each.what: each for each in examine(Workspace({"SMSWEEP_DIR": str(home(desk))}))}
    folder = found["folder (SMSWEEP_DIR)"]
    assert not folder.is_ok
    assert "belongs to user nobody" in folder.found
    assert "SMSWEEP_TRUSTED_DIRS" in folder.cure


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
@pytest.mark.parametrize("is_made_by_user", [True, False])
def test_created_files_are_not_writable_by_others(desk: WorkingDir, umask: int, is_made_by_user: bool) -> None:
    if is_made_by_user:
        home(desk).mkdir()
        home(desk).chmod(0o755)
    before = os.umask(umask)
    try:
        sweep_id = desk.run()
        desk.call("ls")
    finally:
        os.umask(before)
    assert is_made_by_user or stat.S_IMODE(home(desk).stat().st_mode) == 0o700
    for path in home(desk).iterdir():
        assert not path.stat().st_mode & 0o022, path
    for path in (*home(desk).glob("jobs/*"), *home(desk).glob("bundles/*"), *home(desk).glob("runtime/*")):
        assert not path.stat().st_mode & 0o022, path
    for path in home(desk).glob("assets/*/*"):
        assert not path.stat().st_mode & 0o022, path
    assert len(desk.trials(sweep_id)) == 2


# The content, because the name does not prove it.


def test_runtime_with_other_content_is_replaced(desk: WorkingDir) -> None:
    path = runtime_of(home(desk))
    path.write_bytes(payload(desk))
    desk.run()
    assert is_safe(desk)
    assert path.read_bytes() == runtime_zip()


def test_test_payload_runs_when_it_is_not_refused(desk: WorkingDir) -> None:
    """Without this test, the other tests could pass with a payload that never runs."""
    file = desk.folder / "payload.zip"
    file.write_bytes(payload(desk))
    argv = [sys.executable, "-I", "-S", "-c", "import sys; sys.path.insert(0, sys.argv[1]); "]
    argv[-1] += "from smsweep.runtime.job import entrypoint"
    subprocess.run([*argv, str(file)], check=True)
    assert not is_safe(desk)


def link_to_a_payload(path: Path, desk: WorkingDir) -> None:
    (home(desk) / "payload.zip").write_bytes(payload(desk))
    path.symlink_to(home(desk) / "payload.zip")


def pipe_in_place(path: Path, desk: WorkingDir) -> None:
    os.mkfifo(path)


def empty_file(path: Path, desk: WorkingDir) -> None:
    path.touch()


def same_content_for_the_group(path: Path, desk: WorkingDir) -> None:
    path.write_bytes(runtime_zip())
    path.chmod(0o664)


@pytest.mark.parametrize("plant", [link_to_a_payload, pipe_in_place, empty_file, same_content_for_the_group])
@pytest.mark.parametrize("where", ["runtime", "assets"])
def test_foreign_file_in_place_of_the_runtime_is_replaced(
    desk: WorkingDir, where: str, plant: Callable[[Path, WorkingDir], None]
) -> None:
    desk.run()
    (path,) = home(desk).glob({"runtime": "runtime/*.zip", "assets": "assets/*/runtime.zip"}[where])
    path.unlink()
    plant(path, desk)
    desk.run()
    assert is_safe(desk)
    assert stat.S_IMODE(path.lstat().st_mode) & 0o022 == 0
    assert path.read_bytes() == runtime_zip()


def other_source(path: Path, desk: WorkingDir) -> None:
    content = f"open({str(desk.folder / 'PWNED')!r}, 'w').close()\n".encode()
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("train.py")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


def same_source_for_the_group(path: Path, desk: WorkingDir) -> None:
    shutil.copyfile(desk.folder / "kept.tar.gz", path)
    path.chmod(0o664)


@pytest.mark.parametrize("plant", [other_source, pipe_in_place, empty_file, same_source_for_the_group])
def test_assets_with_another_source_are_replaced(
    desk: WorkingDir, plant: Callable[[Path, WorkingDir], None]
) -> None:
    desk.run()
    (path,) = home(desk).glob("assets/*/source.tar.gz")
    shutil.copyfile(path, desk.folder / "kept.tar.gz")
    path.unlink()
    plant(path, desk)
    (desk.folder / "kept.tar.gz").unlink()
    sweep_id = desk.run()
    assert is_safe(desk)
    assert [trial["state"] for trial in desk.trials(sweep_id)] == ["finished", "finished"]
    assert stat.S_IMODE(path.lstat().st_mode) & 0o022 == 0


def test_assets_with_an_additional_file_are_replaced(desk: WorkingDir) -> None:
    desk.run()
    (folder,) = home(desk).glob("assets/*")
    (folder / "sitecustomize.py").write_text("")
    desk.run()
    assert sorted(path.name for path in folder.iterdir()) == ["runtime.zip", "source.tar.gz"]


@pytest.mark.parametrize("plant", [other_source, empty_file])
def test_bundle_with_other_content_is_not_run(desk: WorkingDir, plant: Callable[[Path, WorkingDir], None]) -> None:
    sweep_id = desk.sweep()
    (bundle,) = home(desk).glob("bundles/*.tar.gz")
    bundle.unlink()
    plant(bundle, desk)
    refused = desk.call("agent", sweep_id, code=2)
    assert "source" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert is_safe(desk)
    assert not list(home(desk).glob("assets/*"))


def test_bundle_with_other_content_is_replaced(desk: WorkingDir) -> None:
    desk.sweep()
    (bundle,) = home(desk).glob("bundles/*.tar.gz")
    other_source(bundle, desk)
    desk.run()
    assert is_safe(desk)


def test_bundle_writable_by_others_is_copied_not_linked(desk: WorkingDir) -> None:
    sweep_id = desk.sweep()
    (bundle,) = home(desk).glob("bundles/*.tar.gz")
    bundle.chmod(0o666)
    desk.call("agent", sweep_id)
    (source,) = home(desk).glob("assets/*/source.tar.gz")
    assert source.stat().st_ino != bundle.stat().st_ino
    assert source.read_bytes() == bundle.read_bytes()


@pytest.mark.parametrize("name", ["../../x", "/../../../x", "abc", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"])
def test_invalid_hash_in_a_store_leads_to_no_path(tmp_path: Path, name: str) -> None:
    workspace = Workspace({"SMSWEEP_DIR": str(tmp_path / "home")})
    with pytest.raises(SourceError, match="is not the hash of a source snapshot"):
        workspace.assets(name)
    assert list(tmp_path.iterdir()) == []
