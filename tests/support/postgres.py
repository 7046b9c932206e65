"""The tests' own PostgreSQL server, on a socket in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa

USER = "smsweep"


class Postgres:
    """A running server that creates empty schemas."""

    def __init__(self, folder: Path, control: Callable[..., None]) -> None:
        self.folder = folder  # folder of its socket
        self._control = control  # runs pg_ctl with arguments
        self._url = f"postgresql+psycopg://{USER}@/postgres?host={quote(str(folder))}"
        self._n_schemas = 0

    def restart(self) -> None:
        """Restart as after a crash. All connections are lost."""
        self._control("restart", "-s", "-m", "immediate")

    def stop(self) -> None:
        self._control("stop", "-s", "-m", "immediate")

    def start(self) -> None:
        self._control("start", "-s", "-l", str(self.folder / "log"), "-o", self.options)

    @property
    def options(self) -> str:
        """Command-line options of the server."""
        return f"-k {self.folder} -c listen_addresses='' -c fsync=off -c max_connections=200"

    def new_schema(self) -> str:
        """Create an empty schema, and return its URL."""
        schema = f"test_{self._n_schemas}"
        self._n_schemas += 1
        engine = sa.create_engine(self._url)
        with engine.begin() as connection:
            connection.execute(sa.schema.CreateSchema(schema))
        engine.dispose()
        return f"{self._url}&options=-csearch_path%3D{schema}"


@contextmanager
def run_postgres() -> Iterator[Postgres]:
    """Start a server. Without PostgreSQL, the test is skipped, or fails in CI."""
    binaries = _binaries()
    if binaries is None:
        message = "PostgreSQL is not installed; run `apt-get install postgresql`, or put its initdb on PATH"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    folder = Path(tempfile.mkdtemp(prefix="smsweep-pg-"))
    try:
        as_user = _as_unprivileged(folder)
        data = folder / "data"
        pg_ctl = [*as_user, str(binaries / "pg_ctl"), "-D", str(data), "-w"]
        _run([*pg_ctl, "initdb", "-s", "-o", f"-U {USER} -A trust -E UTF8 --no-locale --no-sync"], folder)
        server = Postgres(folder, lambda *words: _run([*pg_ctl, *words], folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _binaries() -> Path | None:
    """Return the folder with initdb and pg_ctl of the newest PostgreSQL. On Debian, it is not on PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    initdb = debian[-1] if debian else Path(on_path).resolve() if on_path else None
    return initdb.parent if initdb else None


def _as_unprivileged(folder: Path) -> list[str]:
    """Return the prefix of a command that root must not run, and change the owner of the folder."""
    if os.geteuid() != 0:
        return []
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _run(argv: list[str], folder: Path) -> None:
    # Output to a file: the server inherits it, and would keep a pipe open.
    with (folder / "pg_ctl.log").open("ab") as out:
        done = subprocess.run(argv, stdout=out, stderr=out, cwd=folder, check=False, timeout=120)
    assert done.returncode == 0, (folder / "pg_ctl.log").read_text()
