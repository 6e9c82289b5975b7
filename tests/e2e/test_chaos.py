"""The drill holds on a small scale; `dev.py chaos` does it on the full one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scale import SCALE

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")]


def test_nothing_is_lost_or_done_twice_while_everything_is_killed(project: Path, tmp_path: Path) -> None:
    """Hosts and emulator killed, storage stopped and frozen, with the work in full flow, and a carrier that fails."""
    figures = tmp_path / "drill.json"
    command = [sys.executable, "-m", "local.chaos", "--messages", str(int(400 * SCALE)), "--kills", "3", "--seed", "7"]
    command += ["--partners", "--away", "5"]
    done = subprocess.run(
        [*command, "--json", str(figures)], cwd=project, capture_output=True, text=True, timeout=580, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4_000:]
    found = json.loads(figures.read_text())
    assert found["kills"] == {"host": 3, "emulator": 1, "storage": 2}
    assert found["accepted"] == found["processed"] + found["deadLettered"]
    assert found["accepted"] + found["unanswered"] == int(400 * SCALE)
    broken = {name: found[name] for name in ("lost", "duplicateEffects", "eventGaps", "eventsOutOfOrder")}
    assert broken == dict.fromkeys(broken, 0)
    parcels = found["partners"]
    assert parcels["labels"] > 100
    assert (parcels["missingLabels"], parcels["duplicateLabels"]) == (0, 0)
    assert parcels["labelCalls"] > parcels["labels"]  # some failed, and were made again
    assert parcels["backSeconds"] is not None


@pytest.mark.parametrize(
    "wrong", [["--messages", "0"], ["--kills", "-1"], ["--json", "/"], ["--away", "0"], ["--each", "0"]]
)
def test_what_cannot_be_done_is_said_before_anything_starts(project: Path, wrong: list[str]) -> None:
    command = [sys.executable, "-m", "local.chaos", *wrong]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert wrong[0] in done.stderr
