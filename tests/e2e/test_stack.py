"""The stack starts where it can, says why where it cannot, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.conftest import DevPy, lives

pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_process_is_left_after_a_stop(dev_py: DevPy, tmp_path: Path, number: int) -> None:
    with dev_py.started(tmp_path / "data", "--no-demo") as stack:
        pids = stack.processes()
        assert set(pids) == {"azurite", "emulator", "identity", "keyvault", "host-0"}
        assert all(map(lives, pids.values()))
        assert stack.end(number) == 0
        assert stack.processes() == {}
    assert [name for name, pid in pids.items() if lives(pid)] == []


def test_no_process_is_left_after_a_stop_in_the_middle_of_starting(dev_py: DevPy, tmp_path: Path) -> None:
    with dev_py.started(tmp_path / "data", "--no-demo", ready=False) as stack:
        note = tmp_path / "data" / "processes.json"
        stack.wait_for(lambda: note.exists() and "host-0" in note.read_text())
        pids = stack.processes()
        stack.end(signal.SIGINT)
    assert [name for name, pid in pids.items() if lives(pid)] == []


def test_a_second_start_installs_nothing_and_is_quick(dev_py: DevPy, tmp_path: Path) -> None:
    """The promise is 15 s on two cores; a busy machine gives its processes no more of its processor for that."""
    with dev_py.started(tmp_path / "data", "--no-demo") as stack:
        assert sum(map(processor_seconds, [stack.process.pid, *stack.processes().values()])) < 15
        assert "Installing" not in stack.printed()
        assert "Making" not in stack.printed()


def processor_seconds(pid: int) -> float:
    """What a process has had of the processor."""
    given = subprocess.run(["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True, check=True)
    hours, minutes, seconds = given.stdout.strip().rsplit(":", 2)
    return int(hours) * 3_600 + int(minutes) * 60 + float(seconds)


def test_two_stacks_run_side_by_side(dev_py: DevPy, tmp_path: Path) -> None:
    with dev_py.started(tmp_path / "one", "--no-demo") as one, dev_py.started(tmp_path / "two", "--no-demo") as two:
        assert set(one.processes().values()).isdisjoint(two.processes().values())
        for stack in (one, two):
            with urllib.request.urlopen(f"{stack.url}/api/health/ready", timeout=10) as answer:
                assert answer.status == 200


def test_a_data_directory_in_use_is_refused(dev_py: DevPy, tmp_path: Path) -> None:
    with dev_py.started(tmp_path / "data", "--no-demo") as stack:
        done = dev_py.run(tmp_path / "data", "--no-demo")
        assert done.returncode == 2
        assert done.stderr.strip() == (
            f"dev.py: {tmp_path / 'data'} is in use by a running stack: "
            "stop that one, or choose another with --data-dir."
        )
        assert all(map(lives, stack.processes().values()))


@pytest.mark.parametrize("option", ["--port", "--amqp-port", "--table-port"])
def test_a_taken_port_stops_the_start_with_one_line(dev_py: DevPy, tmp_path: Path, option: str) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        done = dev_py.run(tmp_path / "data", "--no-demo", option, str(port))
    assert done.returncode == 2
    assert done.stderr.strip() == f"dev.py: Port {port} is taken: choose another with {option}."


def test_a_wrong_setting_stops_the_start_with_its_name(
    dev_py: DevPy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_STATE_BUCKETS", "many")
    done = dev_py.run(tmp_path / "data", "--no-demo")
    assert done.returncode == 2
    assert "SLUICE_STATE_BUCKETS" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert json.loads((tmp_path / "data" / "processes.json").read_text()) == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--orders", "nothing.csv"], "nothing.csv cannot be read: No such file or directory."),
        (["--limit", "0"], "--limit must be at least 1, not 0."),
        (["--instances", "0"], "--instances must be from 1 to 64, not 0."),
        (["--json", "no/such/folder.json"], "--json no/such/folder.json is not a file that can be written."),
    ],
)
def test_a_wrong_option_is_told_before_anything_starts(
    dev_py: DevPy, tmp_path: Path, options: list[str], said: str
) -> None:
    done = dev_py.run(tmp_path / "data", *options)
    assert done.returncode == 2
    assert done.stderr.strip().endswith(said)
    assert not (tmp_path / "data").exists()


def test_core_tools_that_are_not_installed_are_named(
    dev_py: DevPy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their `func` is looked for on the search path, which here holds nothing but what Azurite needs."""
    for folder in os.environ["PATH"].split(os.pathsep):
        if (Path(folder) / "func").exists():
            pytest.skip("Core Tools are installed here")
    done = dev_py.run(tmp_path / "data", "--no-demo", "--host", "func")
    assert done.returncode == 2
    assert "Azure Functions Core Tools (func) are not installed" in done.stderr
