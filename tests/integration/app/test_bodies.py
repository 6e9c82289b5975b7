"""Bodies at the door of a running app: what they cost before anybody is asked who sent them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local_azure.testing import FunctionsApp, FunctionsApps

LIMIT = 8 * 1024 * 1024
AT_ONCE = 50
TAKEN = 16
"""Requests that host.json lets the host take at once."""
NOWHERE = "Endpoint=sb://127.0.0.1:9/;SharedAccessKeyName=none;SharedAccessKey=bm9uZQ=="
KEY = "one-of-the-callers-with-a-key-of-its-own"
KEYS = [{"client": "a", "sha256": hashlib.sha256(KEY.encode()).hexdigest(), "roles": ["producer"]}]
STORAGE = "UseDevelopmentStorage=true"


@pytest.fixture(scope="module")
def door(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionsApp]:
    """The app's API alone."""
    sample = json.loads((project / "local.settings.sample.json").read_text())["Values"]
    declared = json.loads((project / "infra" / "declarations.json").read_text())["functions"]
    off = {f"AzureWebJobs.{one['name']}.Disabled": "true" for one in declared if one["name"] != "api"}
    settings = sample | off | dict.fromkeys(("ServiceBus", "EventHubs"), NOWHERE)
    settings |= dict.fromkeys(("State", "Claims", "AzureWebJobsStorage"), STORAGE)
    settings |= {"SLUICE_OPERATION_KEY": "k" * 32, "SLUICE_API_KEYS": json.dumps(KEYS)}
    apps = FunctionsApps(tmp_path_factory.mktemp("door"))
    try:
        yield apps(project, **settings)
    finally:
        apps.close()


def resident(door: FunctionsApp) -> int:
    """Bytes of memory that the host has now."""
    for line in Path(f"/proc/{door.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


class Sender:
    """A client on a connection of its own, which sends as slowly as a test likes."""

    def __init__(self, door: FunctionsApp) -> None:
        self._port = int(door.url.rpartition(":")[2])

    async def begin(self, *headers: str) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        lines = ["POST /api/orders HTTP/1.1", "Host: x", "Content-Type: application/json", *headers]
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def status(self) -> int:
        """The answer's; closes the connection."""
        line = await self.reader.readline()
        self.writer.close()
        return int(line.split()[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
async def test_fifty_of_the_largest_bodies_without_a_token_leave_no_memory_behind(door: FunctionsApp) -> None:
    """The host holds as many whole ones as it takes requests at once; the others wait in their sockets."""
    body, rest = b" " * (LIMIT - 1024), b" " * 1024
    before = resident(door)
    first, others = ([Sender(door) for _ in range(count)] for count in (TAKEN, AT_ONCE - TAKEN))
    for one in first:
        await one.begin(f"Content-Length: {LIMIT}")
        await one.send(body)
    await until(lambda: resident(door) - before > TAKEN * LIMIT / 2)
    for one in others:
        await one.begin(f"Content-Length: {LIMIT}")
    waiting = [asyncio.create_task(one.send(body + rest)) for one in others]
    await asyncio.wait(waiting, timeout=1)
    assert resident(door) - before < TAKEN * LIMIT * 4 + 64 * 1024**2
    for one in first:
        await one.send(rest)
    assert [await one.status() for one in (*first, *others)] == [401] * AT_ONCE
    await asyncio.gather(*waiting)
    await until(lambda: resident(door) - before < 64 * 1024**2)


async def test_a_body_over_the_limit_never_reaches_the_app(door: FunctionsApp) -> None:
    """With a length and chunked alike; only one without a length gets as far as the check of its sender."""
    declared, chunked = Sender(door), Sender(door)
    await declared.begin(f"Content-Length: {LIMIT + 1}")
    assert await declared.status() == 500
    await chunked.begin("Transfer-Encoding: chunked", f"X-API-Key: {KEY}")
    await chunked.send(b"%x\r\n" % (LIMIT + 1) + b" " * (LIMIT + 1) + b"\r\n0\r\n\r\n")
    assert await chunked.status() == 500


@pytest.mark.parametrize(
    ("framing", "body", "blamed"),
    [
        ("Content-Length: 1000", b"{", "Unexpected end of request content"),
        (f"Content-Length: {LIMIT}", b" " * 500_000, "Unexpected end of request content"),
        (f"Content-Length: {LIMIT + 1}", b"", "Request body too large"),
        ("Transfer-Encoding: chunked", b"1\r\n{\r\n", None),
        ("Content-Length: 2", b"{}", None),
    ],
)
async def test_what_a_client_does_wrong_is_no_failure_of_the_app(
    door: FunctionsApp, framing: str, body: bytes, blamed: str | None
) -> None:
    """The host may record a failed invocation, which says whose fault it is; the app records nothing."""
    seen = len(door.log)
    leaving = Sender(door)
    await leaving.begin(framing, f"X-API-Key: {KEY}")
    await leaving.send(body)
    ended = "Functions.api' (Failed" if blamed else "Functions.api' (Succeeded"
    if blamed is None:  # the function has begun
        await until(lambda: "Executing 'Functions.api'" in door.log[seen:])
    leaving.writer.transport.abort()
    await until(lambda: ended in door.log[seen:])
    printed = door.log[seen:]
    assert (blamed or "") in printed
    assert (printed.count("(Failed"), printed.count("BadHttpRequestException")) == ((1, 1) if blamed else (0, 0))
    assert "Traceback" not in printed
    assert [line for line in printed.splitlines() if line.startswith("{")] == []  # a line of the app's own


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the host does."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.02)
