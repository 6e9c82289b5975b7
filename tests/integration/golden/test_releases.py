"""A rolling deployment runs two releases at once: each reads what the other writes, for every pair from 0.1.0 on."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from local.azurite import AzuriteEndpoints

GOLDEN = Path(__file__).parents[2] / "golden"
RELEASES = sorted(path.parent.name for path in GOLDEN.glob("*/release.json"))


REWORDED = {"No integration handles the event type 'nobody.knows'.": "No integration handles this event type."}
"""Reasons are for people, and in other words since: names are said, values aren't quoted."""


def known(release: str, name: str, *, in_todays_words: bool = False) -> Any:
    """A file of a release."""
    text = (GOLDEN / release / name).read_text(encoding="utf-8")
    for before, now in REWORDED.items():
        assert before in text or not in_todays_words
        text = text.replace(before, now) if in_todays_words else text
    return json.loads(text)


async def play(what: str, *, code: Path, surface: Path, storage: str, origin: Path | None = None) -> Any:
    """Have a release's code play the scenario, in a process of its own."""
    command = [sys.executable, str(GOLDEN / "record.py"), what, "--storage", storage, "--surface", str(surface)]
    command += ["--suffix", uuid4().hex[:12], *(["--from", str(origin)] if origin else [])]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=code,
        env={**os.environ, "PYTHONPATH": str(code)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(printed)


def code_of(release: str, project: Path, folder: Path) -> Path:
    """A release's tree, out of the history."""
    commit = known(release, "release.json")["commit"]
    archive = subprocess.run(["git", "archive", commit, "shared"], cwd=project, capture_output=True, check=False)
    if archive.returncode != 0:
        pytest.skip(f"the history here doesn't reach back to release {release} ({commit[:7]})")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tree:
        tree.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("release", RELEASES)
async def test_what_a_release_wrote_is_read_as_it_read_it(
    azurite: AzuriteEndpoints, project: Path, release: str
) -> None:
    """Rows, blobs and dead letters of yesterday: deduplicated, continued, published, drained, replayed, shown."""
    seen = await play(
        "read",
        code=project,
        surface=GOLDEN / "surface.py",
        storage=azurite.connection_string,
        origin=GOLDEN / release / "written.json",
    )
    assert seen == known(release, "seen.json")


@pytest.mark.parametrize("release", RELEASES)
async def test_the_same_names_are_written_byte_for_byte(azurite: AzuriteEndpoints, project: Path, release: str) -> None:
    """Rows, blobs with their metadata, messages and events: so yesterday's release reads them."""
    written = await play("write", code=project, surface=GOLDEN / "surface.py", storage=azurite.connection_string)
    expected = known(release, "written.json", in_todays_words=True)
    for row in written["tables"]["state"]:
        if row["RowKey"].startswith("inbox:") and (said := row.pop("payloadHash", None)) is not None:
            assert said == f"2:{row['payloadSha256']}", "the second form is the first where both say the same"
        if row["RowKey"].startswith("inbox:"):
            assert row.pop("source") == "/scenario"
            published = json.loads(row.pop("published", "{}"))
            assert all(number >= 1 for number in published.values())
    retries = [row for row in written["tables"]["state"] if row["RowKey"].startswith("retry:")]
    assert all(row.keys() == {"PartitionKey", "RowKey", "attempt", "nextTry", "keptAt"} for row in retries)
    # A kind of its own, which no release before asks for.
    written["tables"]["state"] = [row for row in written["tables"]["state"] if row not in retries]
    for kind in ("tables", "blobs"):
        for name, content in expected[kind].items():
            assert written[kind][name] == content, name
    assert written == expected


@pytest.mark.parametrize("release", RELEASES)
async def test_a_release_reads_what_is_written_today(
    azurite: AzuriteEndpoints, project: Path, tmp_path: Path, release: str
) -> None:
    """With its own code, out of the history."""
    old = code_of(release, project, tmp_path / "code")
    written = await play("write", code=project, surface=GOLDEN / "surface.py", storage=azurite.connection_string)
    today = tmp_path / "written.json"
    today.write_text(json.dumps(written), encoding="utf-8")
    seen = await play(
        "read",
        code=old,
        surface=GOLDEN / release / "surface.py",
        storage=azurite.connection_string,
        origin=today,
    )
    assert seen == known(release, "seen.json", in_todays_words=True)


@pytest.mark.parametrize("release", RELEASES)
def test_the_golden_files_hold_every_kind_of_row(release: str) -> None:
    """So that none is forgotten: the scenario touches all that lives outside the code."""
    written = known(release, "written.json")
    kinds = {row["RowKey"].partition(":")[0] for row in written["tables"]["state"]}
    assert kinds == {"layout", "inbox", "state", "head", "outbox", "parked", "waiting", "lease"}
    assert {row["status"] for row in written["tables"]["state"] if row["RowKey"].startswith("inbox:")} == {
        "done",
        "dead",
        "replaying",
    }
    assert {row.get("kind") for row in written["tables"]["state"] if row["RowKey"].startswith("outbox:")} == {
        "event",
        "command",
    }
    assert set(written["tables"]) == {"state", "readmodels", "deadletters", "datakeys", "subjectkeys", "audit"}
    assert all(written["blobs"][name] for name in ("claims", "state-values", "dead-letters"))
    assert any("%3A" in row["RowKey"] for row in written["tables"]["readmodels"])
    assert {row["RowKey"].partition(":")[0] for row in written["tables"]["subjectkeys"]} >= {"key", "erased", "audit"}
    assert any("sealed" in one["properties"] for one in written["sent"])
    assert any("when" in one for one in written["sent"])
    assert written["events"]
