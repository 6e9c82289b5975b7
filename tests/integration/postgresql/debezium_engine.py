"""The Debezium Engine in a process of its own, on the same server as ours."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Engine", "class_path", "properties", "started"]

_SOURCE = Path(__file__).parent / "debezium"
_SECONDS = 400
_BUILD_SECONDS = 900


def class_path(cache: Path) -> tuple[str, str]:
    """Java, and where it finds the engine, built once for each state of the sources; skips without Java or Maven."""
    java, javac, maven = shutil.which("java"), shutil.which("javac"), shutil.which("mvn")
    if java is None or javac is None or maven is None:
        pytest.skip("java, javac and mvn not installed")
    inputs = sorted(_SOURCE.iterdir())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()[:16]
    folder = cache / f"debezium-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    path = f"{folder}/classes{os.pathsep}{folder}/libraries/*"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".whole").exists():
            goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}/libraries"]
            _run([maven, "-q", "-B", "-f", str(_SOURCE / "pom.xml"), *goal])
            (folder / "classes").mkdir(exist_ok=True)
            _run([javac, "-nowarn", "-cp", path, "-d", f"{folder}/classes", *map(str, _SOURCE.glob("*.java"))])
            (folder / ".whole").touch()
    return java, path


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(list(command), capture_output=True, timeout=_BUILD_SECONDS, check=False)
    assert done.returncode == 0, (done.stderr or done.stdout)[-3000:].decode()


class Engine:
    """A running engine, and the lines that it has written."""

    def __init__(self, process: asyncio.subprocess.Process, lines: Path) -> None:
        self.process = process
        self._lines = lines
        self._read = 0
        self._found: list[dict[str, Any]] = []

    def lines(self) -> list[dict[str, Any]]:
        """What it has written so far, in its order; each line is read once."""
        if self._lines.exists():
            with self._lines.open("rb") as file:
                file.seek(self._read)
                whole = file.read().rpartition(b"\n")[0]
            if whole:
                self._read += len(whole) + 1
                self._found += map(json.loads, whole.splitlines())
        return self._found

    def records(self) -> list[dict[str, Any]]:
        """The changes among them: no tombstones, and nothing about transactions."""
        values = [(one, one["value"]) for one in self.lines()]
        return [one for one, value in values if value is not None and "op" in value.get("payload", value)]

    async def until(self, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """What it has written, once that is enough."""
        async with asyncio.timeout(_SECONDS):
            while not enough(found := self.records()):
                assert self.process.returncode is None, "the engine ended"
                await asyncio.sleep(0.1)
        return found


def properties(folder: Path, port: int, options: Mapping[str, str]) -> Path:
    """A file that says how the engine captures; what the options don't say is as ours does it."""
    chosen = {
        "name": "crm",
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": str(folder / "offsets"),
        "offset.flush.interval.ms": "1000",
        "database.hostname": "127.0.0.1",
        "database.port": str(port),
        "database.user": "postgres",
        "database.password": "none",
        "database.dbname": "postgres",
        "topic.prefix": "crm",
        "plugin.name": "pgoutput",
        "slot.name": "debezium",
        "publication.name": "debezium",
        "publication.autocreate.mode": "filtered",
        "decimal.handling.mode": "string",
        "time.precision.mode": "isostring",
        "interval.handling.mode": "string",
        "binary.handling.mode": "base64",
        "tombstones.on.delete": "false",
        "skipped.operations": "none",
        "provide.transaction.metadata": "true",
        "key.converter.schemas.enable": "false",
        "value.converter.schemas.enable": "false",
        "value.converter.replace.null.with.default": "false",  # Connect writes the default of a column for null
        **options,
    }
    file = folder / "engine.properties"
    file.write_text("".join(f"{name}={value}\n" for name, value in chosen.items()))
    return file


@asynccontextmanager
async def started(paths: tuple[str, str], folder: Path, port: int, options: Mapping[str, str]) -> AsyncIterator[Engine]:
    """An engine that captures as the options say."""
    java, path = paths
    file, out = properties(folder, port, options), folder / "lines"
    process = await asyncio.create_subprocess_exec(
        java, "-cp", path, "Capture", str(file), str(out), stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    try:
        yield Engine(process, out)
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            process.kill()
            await process.wait()
