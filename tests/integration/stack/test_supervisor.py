"""Processes are kept running while the stack runs, and none is left when it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from local.stack.child import Child, Service
from local.stack.containment import command_of
from local.stack.data_directory import DataDirectory, DataDirectoryInUse
from local.stack.ports import any_free, is_free, settle
from local.stack.supervisor import StartFailed, Supervisor

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX has them")

SERVE = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
PARENT = (
    "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print(f'child={child.pid} up', flush=True); time.sleep(600)"
)


def service(name: str, code: str, folder: Path, stop_seconds: float = 10.0) -> Service:
    async def is_up(child: Child) -> bool:
        return "up\n" in child.first_printed()

    return Service(
        name=name,
        command=[sys.executable, "-c", code],
        folder=folder,
        environment=dict(os.environ),
        is_ready=is_up,
        start_seconds=20.0,
        stop_seconds=stop_seconds,
    )


def runs(pid: int) -> bool:
    return bool(command_of(pid)) and "<defunct>" not in command_of(pid)


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    await asyncio.to_thread(wait_until, condition, seconds)


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    found = DataDirectory(tmp_path / "data", tmp_path)
    found.take()
    return found


@pytest.fixture
async def supervisor(data: DataDirectory) -> AsyncIterator[Supervisor]:
    found = Supervisor(data, lambda text: None)
    yield found
    await found.stop()


def noted(data: DataDirectory) -> dict[str, int]:
    found = json.loads((data.path / "processes.json").read_text())
    assert isinstance(found, dict)
    return found


async def test_a_killed_process_is_started_again_and_noted(
    data: DataDirectory, supervisor: Supervisor, tmp_path: Path
) -> None:
    (child,) = await supervisor.start([service("host-0", SERVE, tmp_path)])
    first = child.pid
    assert noted(data) == {"host-0": first}
    os.kill(first, signal.SIGKILL)
    await until(lambda: noted(data).get("host-0", first) != first)
    assert runs(noted(data)["host-0"])


async def test_stopping_leaves_no_process_and_an_empty_note(
    data: DataDirectory, supervisor: Supervisor, tmp_path: Path
) -> None:
    names = ["azurite", "emulator", "host-0"]
    children = await supervisor.start([service(name, SERVE, tmp_path) for name in names])
    await supervisor.stop()
    assert [child for child in children if runs(child.pid)] == []
    assert noted(data) == {}


async def test_a_process_that_will_not_stop_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    (child,) = await supervisor.start([service("host-0", STUBBORN, tmp_path, stop_seconds=0.3)])
    await supervisor.stop()
    assert not runs(child.pid)


async def test_what_a_process_started_itself_goes_with_it(supervisor: Supervisor, tmp_path: Path) -> None:
    (child,) = await supervisor.start([service("host-0", PARENT.replace("up'", "\\nup'"), tmp_path)])
    grandchild = int(child.first_printed().split("child=")[1].split()[0])
    assert runs(grandchild)
    await supervisor.stop()
    await until(lambda: not runs(grandchild))


async def test_a_process_that_does_not_get_ready_fails_the_start_with_its_last_words(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    wrong = service("host-0", "import sys; print('SLUICE_X is missing', file=sys.stderr); sys.exit(2)", tmp_path)
    with pytest.raises(StartFailed, match="host-0 ended with exit code 2: SLUICE_X is missing"):
        await supervisor.start([wrong])


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("try:\n    {}['host']\nexcept KeyError:\n    raise ValueError('no host') ", "ValueError: no host"),
        ("print('ModuleNotFoundError: No module named x'); print('bye')", "ModuleNotFoundError: No module named x"),
        ("print('Error: listen EADDRINUSE'); print('    at Server.listen (node:net:1)')", "Error: listen EADDRINUSE"),
        ("print('port 5 cannot be used'); print('stopped in 0.1 s')", "port 5 cannot be used"),
        ("pass", "it said nothing"),
    ],
)
async def test_a_process_that_fails_shows_its_cause(
    supervisor: Supervisor, tmp_path: Path, code: str, cause: str
) -> None:
    """Not the last line, which may be a frame of a stack, a hint or a goodbye."""
    wrong = service("host-0", f"{code}\nimport sys; sys.exit(1)", tmp_path)
    with pytest.raises(StartFailed, match=re.escape(f"ended with exit code 1: {cause}")):
        await supervisor.start([wrong])


async def test_a_full_disk_ends_nothing_for_good(data: DataDirectory, tmp_path: Path) -> None:
    """While nothing can be written it is tried again, which is said once; then the process is there again."""
    told: list[str] = []
    supervisor = Supervisor(data, told.append)
    try:
        (child,) = await supervisor.start([service("host-0", SERVE, tmp_path)])
        first = child.pid
        away = data.path.rename(tmp_path / "away")  # no log can be opened, and no process noted
        os.kill(first, signal.SIGKILL)
        await until(lambda: any("trying again" in line for line in told))
        assert any("cannot be written" in line and line.endswith("going on") for line in told)
        await asyncio.sleep(1)
        assert len(told) == len(set(told))
        away.rename(data.path)
        await until(lambda: noted(data).get("host-0", first) != first)
        await until(lambda: "host-0 is ready again" in told)
        assert runs(noted(data)["host-0"])
    finally:
        await supervisor.stop()


async def test_a_program_that_is_not_there_fails_the_start(supervisor: Supervisor, tmp_path: Path) -> None:
    missing = Service("host-0", ["/nonexistent/func"], tmp_path, {}, service("x", "", tmp_path).is_ready)
    with pytest.raises(StartFailed, match="/nonexistent/func: No such file"):
        await supervisor.start([missing])


async def test_a_restart_for_new_source_waits_for_nothing(
    data: DataDirectory, supervisor: Supervisor, tmp_path: Path
) -> None:
    (child,) = await supervisor.start([service("host-0", SERVE, tmp_path)])
    await supervisor.restart(["host-0"])
    await until(lambda: noted(data).get("host-0", child.pid) != child.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_children_end_even_when_their_parent_is_killed(tmp_path: Path, project: Path) -> None:
    code = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from local.stack.data_directory import DataDirectory
        from local.stack.supervisor import Supervisor
        from tests.integration.stack.test_supervisor import SERVE, service

        async def main():
            folder = Path(sys.argv[1])
            data = DataDirectory(folder / "data", folder)
            data.take()
            (child,) = await Supervisor(data, print).start([service("host-0", SERVE, folder)])
            print(child.pid, flush=True)
            await asyncio.sleep(600)

        asyncio.run(main())
        """
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=project, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not runs(child))


def test_what_a_killed_stack_left_running_is_stopped_by_the_next(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "data", tmp_path)
    data.take()
    left = subprocess.Popen([sys.executable, "-c", f"# {data.path}\n{SERVE}"], start_new_session=True)
    other = subprocess.Popen([sys.executable, "-c", SERVE], start_new_session=True)
    data.note_process("azurite", left.pid)
    data.note_process("emulator", other.pid)
    data.leave()
    try:
        reaper = threading.Thread(target=left.wait)
        reaper.start()
        DataDirectory(tmp_path / "data", tmp_path).take()
        reaper.join(20)
        assert left.returncode == -signal.SIGTERM
        assert runs(other.pid), "a number that belongs to something else must be let be"
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


def test_a_data_directory_has_one_stack_at_a_time(tmp_path: Path) -> None:
    first, second = (DataDirectory(tmp_path / "data", tmp_path) for _ in range(2))
    first.take()
    with pytest.raises(DataDirectoryInUse, match="in use by a running stack"):
        second.take()
    first.leave()
    second.take()
    second.leave()


def test_a_taken_port_is_seen_and_a_default_gives_way() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = int(server.getsockname()[1])
        assert not is_free(port)
        assert settle(port, 1) is None
        assert settle(None, port) == 0
    assert is_free(port)


def test_ports_for_later_are_neighbours_that_nobody_is_given_by_chance() -> None:
    """A test once lost its port to a client's connection between the choice and the start."""
    first = any_free(3, within=range(20_000, 20_010))
    assert first in range(20_000, 20_008)
    assert all(map(is_free, range(first, first + 3)))
    with socket.socket() as anybody:
        anybody.bind(("127.0.0.1", 0))
        assert anybody.getsockname()[1] not in range(20_000, 32_000)
    with socket.socket() as server:
        server.bind(("127.0.0.1", first))
        server.listen()
        with pytest.raises(OSError, match=f"No 1 free ports from {first} to {first}"):
            any_free(within=range(first, first + 1))


def test_a_port_that_was_just_left_is_free() -> None:
    """A connection that is still closing must not keep a restarted stack from its ports."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = int(server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()
            time.sleep(0.01)
    assert is_free(port)
