"""A drill's faults come from its seed, and strike only the processes that its stack lists."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from local.chaos.faults import Fault, Kind, plan, strike


def _started(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_the_default_breaks_what_it_promises() -> None:
    faults = plan(kills=10, instances=2, chance=Random(1))
    kinds = Counter(fault.kind for fault in faults)
    assert kinds == {
        Kind.HOST_KILLED: 10,
        Kind.EMULATOR_KILLED: 3,
        Kind.STORAGE_STOPPED: 3,
        Kind.STORAGE_FROZEN: 3,
    }
    assert {fault.target for fault in faults} == {"host-0", "host-1", "emulator", "azurite"}


def test_the_same_seed_breaks_the_same_things() -> None:
    assert plan(kills=10, instances=2, chance=Random(5)) == plan(kills=10, instances=2, chance=Random(5))
    assert plan(kills=10, instances=2, chance=Random(5)) != plan(kills=10, instances=2, chance=Random(6))


def test_everything_strikes_while_there_is_work() -> None:
    faults = plan(kills=100, instances=2, chance=Random(3))
    assert faults == sorted(faults)
    assert all(0 < fault.at < 1 for fault in faults)
    assert plan(kills=0, instances=2, chance=Random(3)) == []


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
async def test_a_process_that_is_just_being_started_again_is_waited_for(tmp_path: Path) -> None:
    processes = tmp_path / "processes.json"
    processes.write_text("{}")
    victim = _started("import time; time.sleep(60)")
    try:
        striking = asyncio.create_task(strike(Fault(0.5, Kind.HOST_KILLED, "host-0"), processes, lambda _: None))
        await asyncio.sleep(0.3)
        assert not striking.done()
        processes.write_text(json.dumps({"host-0": victim.pid}))
        await striking
        assert victim.wait(10) == -9
    finally:
        victim.kill()
        victim.wait()


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
async def test_a_frozen_process_goes_on_afterwards(tmp_path: Path) -> None:
    processes = tmp_path / "processes.json"
    victim = _started("print(input())")
    try:
        processes.write_text(json.dumps({"azurite": victim.pid}))
        said: list[str] = []
        await strike(Fault(0.5, Kind.STORAGE_FROZEN, "azurite", 0.2), processes, said.append)
        answer, _ = await asyncio.to_thread(victim.communicate, b"awake\n", 10)
        assert answer == b"awake\n"
        assert said == ["froze storage for 0.2 s"]
    finally:
        victim.kill()
        victim.wait()
