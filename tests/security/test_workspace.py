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
from tests.support.working_dir import WorkingDir, grid

STRANGER = 65534  # the user id of the attacker; the tests themselves run as root
TRAIN = "import smsweep\nsmsweep.log({'loss': smsweep.init().config.x})\n"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as a second user")


@pytest.fixture
def workdir() -> Iterator[WorkingDir]:
    """A folder that every user can enter, unlike pytest's folders. The umask of the runner has no effect."""
    folder = Path(tempfile.mkdtemp(prefix="smsweep-users-"))
    folder.chmod(0o755)
    workdir = WorkingDir(folder, {"train.py": TRAIN, "sweep.yaml": grid(x=[1, 2])})
    yield workdir
    shutil.rmtree(folder)


def stranger(*argv: str, cwd: Path) -> None:
    """Run a system program as the second user."""
    environ = {"PATH": os.environ["PATH"]}
    subprocess.run(argv, user=STRANGER, group=STRANGER, extra_groups=[], cwd=cwd, env=environ, check=True, umask=0)


def home(workdir: WorkingDir) -> Path:
    return workdir.folder / ".smsweep"


def runtime_of(folder: Path) -> Path:
    return Workspace({"SMSWEEP_DIR": str(folder)}).runtime_zip()


def payload(workdir: WorkingDir) -> bytes:
    """Return a runtime that records that it ran. The launcher imports the runtime in the agent's account."""
    created = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(runtime_zip())) as source, zipfile.ZipFile(created, "w") as target:
        for name in source.namelist():
            if name.endswith("/entrypoint.py"):
                code = f"open({str(workdir.folder / 'PWNED')!r}, 'w').close()\n"
                text = source.read(name).decode()
                future = "from __future__ import annotations\n"
                target.writestr(name, text.replace(future, future + code, 1))
            elif not name.endswith("/entrypoint.pyc"):
                target.writestr(name, source.read(name))
    return created.getvalue()


def is_safe(workdir: WorkingDir) -> bool:
    return not (workdir.folder / "PWNED").exists()


# Hostile folders. Each function acts as the second user, and returns the path in the error.


def opened_for_strangers(workdir: WorkingDir) -> None:
    workdir.folder.chmod(0o1777)


def folder_of_a_stranger(workdir: WorkingDir) -> str:
    opened_for_strangers(workdir)
    (workdir.folder / "payload.zip").write_bytes(payload(workdir))
    name = runtime_of(workdir.folder / "mine").name
    shutil.rmtree(workdir.folder / "mine")
    stranger("mkdir", "-p", ".smsweep/runtime", cwd=workdir.folder)
    stranger("cp", "payload.zip", f".smsweep/runtime/{name}", cwd=workdir.folder)
    return f"this folder belongs to user nobody (uid {STRANGER})"


def link_of_a_stranger_to_a_folder_of_theirs(workdir: WorkingDir) -> str:
    opened_for_strangers(workdir)
    stranger("mkdir", "theirs", cwd=workdir.folder)
    stranger("ln", "-s", "theirs", ".smsweep", cwd=workdir.folder)
    return "this link belongs to user nobody"


def link_of_a_stranger_to_a_folder_of_mine(workdir: WorkingDir) -> str:
    opened_for_strangers(workdir)
    Workspace({"SMSWEEP_DIR": str(workdir.folder / "mine")}).make()
    stranger("ln", "-s", "mine", ".smsweep", cwd=workdir.folder)
    return "this link belongs to user nobody"


def own_link_to_a_folder_of_a_stranger(workdir: WorkingDir) -> str:
    opened_for_strangers(workdir)
    stranger("mkdir", "theirs", cwd=workdir.folder)
    home(workdir).symlink_to("theirs")
    return "this folder belongs to user nobody"


def folder_that_all_can_write(workdir: WorkingDir) -> str:
    home(workdir).mkdir()
    home(workdir).chmod(0o777)
    return f"other users can write to {home(workdir)} (mode 0777)"


def folder_that_its_group_can_write(workdir: WorkingDir) -> str:
    home(workdir).mkdir()
    home(workdir).chmod(0o775)
    return f"run `chmod go-w {home(workdir)}`"


def sticky_folder_that_all_can_write(workdir: WorkingDir) -> str:
    home(workdir).mkdir()
    home(workdir).chmod(0o1777)
    return f"other users can write to {home(workdir)} (mode 1777)"


def folder_that_was_open_earlier(name: str) -> Callable[[WorkingDir], str]:
    """An entry that the second user created before the folder was protected. Name and depth can vary."""

    def plant(workdir: WorkingDir) -> str:
        path = home(workdir) / name
        path.parent.mkdir(parents=True)
        path.parent.chmod(0o777)
        kind = "mkdir" if "." not in name else "touch"
        stranger(kind, str(path), cwd=workdir.folder)
        for folder in {path.parent, home(workdir)}:
            folder.chmod(0o755)
        return f"{path}: this belongs to user nobody"

    return plant


def hard_link_to_a_runtime_of_a_stranger(workdir: WorkingDir) -> str:
    opened_for_strangers(workdir)
    name = runtime_of(home(workdir)).name
    content = (home(workdir) / "runtime" / name).read_bytes()
    (workdir.folder / "copy.zip").write_bytes(content)
    stranger("cp", "copy.zip", "theirs.zip", cwd=workdir.folder)
    (home(workdir) / "runtime" / name).unlink()
    os.link(workdir.folder / "theirs.zip", home(workdir) / "runtime" / name)  # like earlier versions
    return f"{name}: this belongs to user nobody"


def entry_that_its_group_can_write(workdir: WorkingDir) -> str:
    Workspace({"SMSWEEP_DIR": str(home(workdir))}).make()
    home(workdir).chmod(0o755)
    (home(workdir) / "jobs").mkdir()
    (home(workdir) / "jobs").chmod(0o775)
    return f"run `chmod go-w {home(workdir) / 'jobs'}`"


def store_that_all_can_write(workdir: WorkingDir) -> str:
    workdir.sweep()
    home(workdir).chmod(0o711)
    (home(workdir) / "store.db").chmod(0o666)
    return f"other users can write to {home(workdir) / 'store.db'} (mode 0666)"


def store_that_is_a_link_to_a_strangers(workdir: WorkingDir) -> str:
    opened_for_strangers(workdir)
    stranger("touch", "theirs.db", cwd=workdir.folder)
    Workspace({"SMSWEEP_DIR": str(home(workdir))}).make()
    (home(workdir) / "store.db").symlink_to(workdir.folder / "theirs.db")
    return f"{home(workdir) / 'store.db'}: this belongs to user nobody"


def folder_that_all_can_replace(workdir: WorkingDir) -> str:
    workdir.sweep()
    workdir.folder.chmod(0o777)
    return f"every user can write to {workdir.folder} (mode 0777), and so replace this folder"


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
def test_planted_folder_is_refused_with_instructions(
    workdir: WorkingDir, plant: Callable[[WorkingDir], str]
) -> None:
    output = plant(workdir)
    refused = workdir.call("run", "sweep.yaml", code=2)
    assert output in refused.stderr
    assert "SMSWEEP_TRUSTED_DIRS=" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert is_safe(workdir)
    assert not list(home(workdir).glob("jobs/*/output.log"))


@pytest.mark.parametrize("verb", [("ls",), ("show", "abcd1234"), ("plan", "abcd1234"), ("logs", "abcd1234/0")])
def test_read_only_commands_refuse_a_foreign_folder(workdir: WorkingDir, verb: tuple[str, ...]) -> None:
    sweep_id = workdir.sweep()
    for path in (home(workdir), *home(workdir).rglob("*")):
        os.chown(path, STRANGER, STRANGER)
    words = [word.replace("abcd1234", sweep_id) for word in verb]
    assert "this folder belongs to user nobody" in workdir.call(*words, code=2).stderr


@pytest.mark.parametrize("verb", ["ui", "emulator"])
def test_servers_do_not_start_in_a_foreign_folder(workdir: WorkingDir, verb: str) -> None:
    home(workdir).mkdir()
    os.chown(home(workdir), STRANGER, STRANGER)
    assert "this folder belongs to user nobody" in workdir.call(verb, "--port", "0", code=2).stderr


def test_page_refuses_a_replaced_store(workdir: WorkingDir) -> None:
    workdir.sweep()
    with closing(LiveStore(Workspace({"SMSWEEP_DIR": str(home(workdir))}))) as live:
        assert len(live.sweeps()) == 1
        home(workdir).rename(workdir.folder / "kept")
        shutil.copytree(workdir.folder / "kept", home(workdir))
        os.chown(home(workdir), STRANGER, STRANGER)
        with pytest.raises(UsageError, match="belongs to user nobody"):
            live.sweeps()


def test_command_in_the_error_makes_the_folder_usable(workdir: WorkingDir) -> None:
    for name in ("", "jobs", "runtime", "bundles"):
        (home(workdir) / name).mkdir()
        (home(workdir) / name).chmod(0o775)
    output = workdir.call("run", "sweep.yaml", code=2).stderr
    subprocess.run(shlex.split(output.split("run `")[1].split("`")[0]), check=True)
    workdir.run()


def test_trusted_folder_is_used(workdir: WorkingDir) -> None:
    opened_for_strangers(workdir)
    stranger("mkdir", ".smsweep", cwd=workdir.folder)
    output = workdir.call("run", "sweep.yaml", code=2).stderr
    name, _, value = output.rsplit("set ", 1)[1].strip().partition("=")
    workdir.environ[name] = f"/elsewhere:{shlex.split(value)[0]}"
    sweep_id = workdir.run()
    assert [trial["state"] for trial in workdir.trials(sweep_id)] == ["finished", "finished"]


@pytest.mark.parametrize("value", ["", ".smsweep", ".", "*", "1", "/", "..", "{folder}", "{folder}/.smsweep/jobs"])
def test_only_the_folder_itself_is_trusted_by_its_absolute_path(workdir: WorkingDir, value: str) -> None:
    opened_for_strangers(workdir)
    stranger("mkdir", ".smsweep", cwd=workdir.folder)
    workdir.environ["SMSWEEP_TRUSTED_DIRS"] = value.format(folder=workdir.folder)
    assert "belongs to user nobody" in workdir.call("ls", code=2).stderr


def test_content_of_a_trusted_folder_is_hashed(workdir: WorkingDir) -> None:
    folder_of_a_stranger(workdir)
    workdir.environ["SMSWEEP_TRUSTED_DIRS"] = str(home(workdir))
    workdir.run()
    assert is_safe(workdir)


@pytest.mark.parametrize(("value", "code"), [(str(STRANGER), 0), ("1", 2), ("", 2), ("-1", 2), ("nobody", 2)])
def test_root_can_use_the_folder_of_the_sudo_user(workdir: WorkingDir, value: str, code: int) -> None:
    opened_for_strangers(workdir)
    stranger("mkdir", "-m", "755", ".smsweep", cwd=workdir.folder)
    workdir.environ["SUDO_UID"] = value
    workdir.call("run", "sweep.yaml", "-q", code=code)


def test_variable_of_sudo_counts_for_root_only(workdir: WorkingDir) -> None:
    home(workdir).mkdir()

    def look() -> None:
        with pytest.raises(UsageError, match="belongs to user root"):
            check_folder(home(workdir), {"SUDO_UID": "0"})

    as_user(look, may_use_engine=False)


def test_user_refuses_a_folder_of_root(workdir: WorkingDir) -> None:
    home(workdir).mkdir()

    def look() -> None:
        with pytest.raises(UsageError, match=r"belongs to user root \(uid 0\), you are uid 54321,"):
            check_folder(home(workdir), {})

    as_user(look, may_use_engine=False)


def test_files_of_root_in_a_users_folder_are_accepted(workdir: WorkingDir) -> None:
    (home(workdir) / "jobs").mkdir(parents=True)
    os.chown(home(workdir), USER, USER)
    as_user(lambda: check_folder(home(workdir), {}), may_use_engine=False)


def test_folder_in_a_shared_sticky_folder_is_used(workdir: WorkingDir) -> None:
    workdir.folder.chmod(0o1777)
    workdir.run()


def test_folder_in_a_project_of_a_group_is_used(workdir: WorkingDir) -> None:
    """Systems with a private group per user have umask 002, so that every project is group-writable."""
    workdir.folder.chmod(0o2775)
    workdir.run()


def test_replaceable_folder_is_used_when_only_its_owner_has_access(workdir: WorkingDir) -> None:
    workdir.folder.chmod(0o700)
    (workdir.folder / "open").mkdir()
    (workdir.folder / "open").chmod(0o777)
    workdir.environ["SMSWEEP_DIR"] = str(workdir.folder / "open" / ".smsweep")
    workdir.run()


def test_folder_is_not_created_where_all_users_can_replace_it(workdir: WorkingDir) -> None:
    workdir.folder.chmod(0o777)
    workdir.call("run", "sweep.yaml", code=2)
    assert not home(workdir).exists()


def test_doctor_reports_an_untrusted_folder(workdir: WorkingDir) -> None:
    home(workdir).mkdir(mode=0o755)
    os.chown(home(workdir), STRANGER, STRANGER)
    found = {each.what: each for each in examine(Workspace({"SMSWEEP_DIR": str(home(workdir))}))}
    folder = found["folder (SMSWEEP_DIR)"]
    assert not folder.is_ok
    assert "belongs to user nobody" in folder.result
    assert "SMSWEEP_TRUSTED_DIRS" in folder.fix


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
@pytest.mark.parametrize("is_made_by_user", [True, False])
def test_created_files_are_not_writable_by_others(workdir: WorkingDir, umask: int, is_made_by_user: bool) -> None:
    if is_made_by_user:
        home(workdir).mkdir()
        home(workdir).chmod(0o755)
    before = os.umask(umask)
    try:
        sweep_id = workdir.run()
        workdir.call("ls")
    finally:
        os.umask(before)
    assert is_made_by_user or stat.S_IMODE(home(workdir).stat().st_mode) == 0o700
    for path in home(workdir).iterdir():
        assert not path.stat().st_mode & 0o022, path
    for path in (
        *home(workdir).glob("jobs/*"),
        *home(workdir).glob("bundles/*"),
        *home(workdir).glob("runtime/*"),
    ):
        assert not path.stat().st_mode & 0o022, path
    for path in home(workdir).glob("assets/*/*"):
        assert not path.stat().st_mode & 0o022, path
    assert len(workdir.trials(sweep_id)) == 2


# The content, because the name does not prove it.


def test_runtime_with_other_content_is_replaced(workdir: WorkingDir) -> None:
    path = runtime_of(home(workdir))
    path.write_bytes(payload(workdir))
    workdir.run()
    assert is_safe(workdir)
    assert path.read_bytes() == runtime_zip()


def test_test_payload_runs_when_it_is_not_refused(workdir: WorkingDir) -> None:
    """Without this test, the other tests could pass with a payload that never runs."""
    file = workdir.folder / "payload.zip"
    file.write_bytes(payload(workdir))
    argv = [sys.executable, "-I", "-S", "-c", "import sys; sys.path.insert(0, sys.argv[1]); "]
    argv[-1] += "from smsweep.runtime.job import entrypoint"
    subprocess.run([*argv, str(file)], check=True)
    assert not is_safe(workdir)


def link_to_a_payload(path: Path, workdir: WorkingDir) -> None:
    (home(workdir) / "payload.zip").write_bytes(payload(workdir))
    path.symlink_to(home(workdir) / "payload.zip")


def pipe_in_place(path: Path, workdir: WorkingDir) -> None:
    os.mkfifo(path)


def empty_file(path: Path, workdir: WorkingDir) -> None:
    path.touch()


def same_content_for_the_group(path: Path, workdir: WorkingDir) -> None:
    path.write_bytes(runtime_zip())
    path.chmod(0o664)


@pytest.mark.parametrize("plant", [link_to_a_payload, pipe_in_place, empty_file, same_content_for_the_group])
@pytest.mark.parametrize("where", ["runtime", "assets"])
def test_foreign_file_in_place_of_the_runtime_is_replaced(
    workdir: WorkingDir, where: str, plant: Callable[[Path, WorkingDir], None]
) -> None:
    workdir.run()
    (path,) = home(workdir).glob({"runtime": "runtime/*.zip", "assets": "assets/*/runtime.zip"}[where])
    path.unlink()
    plant(path, workdir)
    workdir.run()
    assert is_safe(workdir)
    assert stat.S_IMODE(path.lstat().st_mode) & 0o022 == 0
    assert path.read_bytes() == runtime_zip()


def other_source(path: Path, workdir: WorkingDir) -> None:
    content = f"open({str(workdir.folder / 'PWNED')!r}, 'w').close()\n".encode()
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("train.py")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


def same_source_for_the_group(path: Path, workdir: WorkingDir) -> None:
    shutil.copyfile(workdir.folder / "kept.tar.gz", path)
    path.chmod(0o664)


@pytest.mark.parametrize("plant", [other_source, pipe_in_place, empty_file, same_source_for_the_group])
def test_assets_with_another_source_are_replaced(
    workdir: WorkingDir, plant: Callable[[Path, WorkingDir], None]
) -> None:
    workdir.run()
    (path,) = home(workdir).glob("assets/*/source.tar.gz")
    shutil.copyfile(path, workdir.folder / "kept.tar.gz")
    path.unlink()
    plant(path, workdir)
    (workdir.folder / "kept.tar.gz").unlink()
    sweep_id = workdir.run()
    assert is_safe(workdir)
    assert [trial["state"] for trial in workdir.trials(sweep_id)] == ["finished", "finished"]
    assert stat.S_IMODE(path.lstat().st_mode) & 0o022 == 0


def test_assets_with_an_additional_file_are_replaced(workdir: WorkingDir) -> None:
    workdir.run()
    (folder,) = home(workdir).glob("assets/*")
    (folder / "sitecustomize.py").write_text("")
    workdir.run()
    assert sorted(path.name for path in folder.iterdir()) == ["runtime.zip", "source.tar.gz"]


@pytest.mark.parametrize("plant", [other_source, empty_file])
def test_bundle_with_other_content_is_not_run(
    workdir: WorkingDir, plant: Callable[[Path, WorkingDir], None]
) -> None:
    sweep_id = workdir.sweep()
    (bundle,) = home(workdir).glob("bundles/*.tar.gz")
    bundle.unlink()
    plant(bundle, workdir)
    refused = workdir.call("agent", sweep_id, code=2)
    assert "source" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert is_safe(workdir)
    assert not list(home(workdir).glob("assets/*"))


def test_bundle_with_other_content_is_replaced(workdir: WorkingDir) -> None:
    workdir.sweep()
    (bundle,) = home(workdir).glob("bundles/*.tar.gz")
    other_source(bundle, workdir)
    workdir.run()
    assert is_safe(workdir)


def test_bundle_writable_by_others_is_copied_not_linked(workdir: WorkingDir) -> None:
    sweep_id = workdir.sweep()
    (bundle,) = home(workdir).glob("bundles/*.tar.gz")
    bundle.chmod(0o666)
    workdir.call("agent", sweep_id)
    (source,) = home(workdir).glob("assets/*/source.tar.gz")
    assert source.stat().st_ino != bundle.stat().st_ino
    assert source.read_bytes() == bundle.read_bytes()


@pytest.mark.parametrize("name", ["../../x", "/../../../x", "abc", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"])
def test_invalid_hash_in_a_store_leads_to_no_path(tmp_path: Path, name: str) -> None:
    workspace = Workspace({"SMSWEEP_DIR": str(tmp_path / "home")})
    with pytest.raises(SourceError, match="is not the hash of a source snapshot"):
        workspace.assets(name)
    assert list(tmp_path.iterdir()) == []
