"""A PostgreSQL server of a test's own, on a Unix socket in a folder of its own."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from shared.postgresql import ServerAddress

__all__ = ["Server", "over_tcp", "running"]

_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))
_SECONDS = 60


class Server:
    """A running server, which anybody on this machine may use."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self.folder = folder
        self._binaries = binaries
        # the server refuses to run as root
        self._user: dict[str, Any] = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
        if os.geteuid() != 0:
            self._user = {}
        self._process: subprocess.Popen[bytes] | None = None
        command = ["initdb", "-D", f"{folder}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        self._run(*command)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._binaries / program), *arguments],
            cwd=self.folder,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            **self._user,
        )
        assert done.returncode == 0, done.stderr.decode()

    @property
    def address(self) -> ServerAddress:
        """Where it is."""
        return ServerAddress.of(f"postgresql://postgres@/postgres?host={self.folder}")

    async def connect(self, **options: Any) -> asyncpg.Connection:
        """A connection of whoever uses the database."""
        return await asyncpg.connect(host=str(self.folder), user="postgres", database="postgres", **options)

    def version(self) -> str:
        """The server's own words."""
        done = subprocess.run([str(self._binaries / "postgres"), "--version"], capture_output=True, check=True)
        return done.stdout.decode().strip()

    async def start(self, **settings: str) -> None:
        """Start it, and wait until it answers."""
        chosen = {
            "wal_level": "logical",
            "fsync": "off",
            "listen_addresses": "",
            "max_wal_senders": "4",
            "shared_buffers": "32MB",
            "log_min_messages": "fatal",
            **settings,
        }
        options = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220  it returns at once
                [str(self._binaries / "postgres"), "-D", f"{self.folder}/data", "-k", str(self.folder), *options],
                cwd=self.folder,
                stderr=log,
                stdout=log,
                **self._user,
            )
        for _ in range(_SECONDS * 10):
            try:
                await (await self.connect()).close()
            except (OSError, asyncpg.PostgresError):
                assert self._process.poll() is None, (self.folder / "log").read_text()
                await asyncio.sleep(0.1)
            else:
                return
        raise AssertionError((self.folder / "log").read_text())

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: at once, and sessions with it; SIGQUIT as a crash does."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_SECONDS)
            self._process = None


@asynccontextmanager
async def over_tcp(server: Server, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A port that leads to the server's socket, for those who can't use that."""

    async def forward(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                target.write(data)
                await target.drain()
        target.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, questions = await asyncio.open_unix_connection(str(server.folder / ".s.PGSQL.5432"))
        except OSError:
            writer.close()
            return
        await asyncio.gather(forward(reader, questions), forward(answers, writer))

    listening = await asyncio.start_server(accept, host, 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


@contextmanager
def running() -> Iterator[Server]:
    """A server, not started yet; skips where PostgreSQL isn't installed."""
    found = os.environ.get("SLUICE_TEST_POSTGRESQL_BINARIES")
    folders = [Path(found)] if found else _FOLDERS
    if not folders:
        pytest.skip("PostgreSQL's server not installed")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has 107 characters at most
    folder.chmod(0o777)
    server = Server(folders[0], folder)
    try:
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)
