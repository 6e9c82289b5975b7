"""`dev.py shares`: an operator makes, lists and withdraws tokens; the store has their hashes alone."""

from __future__ import annotations

import asyncio
import hashlib
import json
import stat
from pathlib import Path

import pytest

from functions.composition.dead_letters import AUDIT_TABLE
from functions.composition.state import STATE
from local.azurite import AzuriteEndpoints
from ops.shares import main
from shared.tables import Query
from shared.tables.azure import AzureTable
from tests.unit.functions.conftest import ENVIRONMENT


@pytest.fixture
async def environment(azurite: AzuriteEndpoints) -> dict[str, str]:
    """An app that shares something, with the tables that the commands write."""
    for name in (STATE.name, AUDIT_TABLE):
        async with AzureTable.from_connection_string(azurite.connection_string, name) as table:
            await table.ensure_created()
    return {
        **ENVIRONMENT,
        "State": azurite.connection_string,
        "Claims": azurite.connection_string,
        "Lake": azurite.connection_string,
        "SLUICE_SHARES": '{"Sales": {"gold": ["daily_sales"]}}',
        "SLUICE_PUBLIC_URL": "https://api.example.org",
    }


WHY = ["--by", "me", "--reason", "contract 7"]


async def test_a_token_is_made_listed_and_withdrawn(
    environment: dict[str, str], azurite: AzuriteEndpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The profile file is its owner's alone; neither the store nor a line shows the token."""
    file = tmp_path / "acme.share"
    assert (
        await run(["token", "acme-1", "--shares", "sales", "--days", "7", "--out", str(file), *WHY], environment) == 0
    )
    profile = json.loads(file.read_text(encoding="utf-8"))
    token = profile.pop("bearerToken")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert profile["endpoint"] == "https://api.example.org/api/delta-sharing"
    assert profile["shareCredentialsVersion"] == 1
    assert token.startswith("slshare_")
    assert await run(["list", "--json"], environment) == 0
    said = capsys.readouterr().out
    listed = json.loads(said[said.index("{") :])
    (mine,) = [one for one in listed["tokens"] if one["recipient"] == "acme-1"]
    assert (mine["state"], mine["ends"], mine["role"]) == ("open", profile["expirationTime"], "reader")
    assert listed["shares"] == {"Sales": ["gold.daily_sales"]}
    assert token not in said
    async with AzureTable.from_connection_string(azurite.connection_string, STATE.name) as table:
        rows = [dict(row) async for row in table.query(Query(partition="share-tokens"))]
    assert hashlib.sha256(token.encode()).hexdigest() in [row["RowKey"] for row in rows]
    assert token not in str(rows)
    assert await run(["withdraw", mine["id"], *WHY], environment) == 0
    assert await run(["withdraw", "acme-1", *WHY], environment) == 1
    assert await run(["list"], environment) == 0
    assert f"{mine['id']}  withdrawn" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["token", "x", "--shares", "nothing", "--out", "FILE"], "--shares: there are Sales"),
        (["token", "X y", "--shares", "sales", "--out", "FILE"], "a recipient is called"),
        (["token", "x", "--shares", "", "--out", "FILE"], "at least one share"),
        (["token", "x", "--shares", "sales", "--days", "9999", "--out", "FILE"], "1 to 365 days"),
        (["token", "x", "--shares", "sales", "--out", "FILE/none"], "can't be made"),
        (["token", "x", "--shares", "sales", "--out", "FILE", "--endpoint", "http://example.org"], "--endpoint https"),
        (["token", "x", "--shares", "sales", "--role", "producer", "--out", "FILE"], "invalid choice"),
    ],
)
async def test_what_can_t_be_is_said_and_leaves_no_file(
    environment: dict[str, str],
    tmp_path: Path,
    arguments: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With exit code 2."""
    file = tmp_path / "x.share"
    given = [one.replace("FILE", str(file)) for one in arguments]
    assert await run([*given, *WHY], environment) == 2
    assert says in capsys.readouterr().err
    assert not file.exists()


async def run(arguments: list[str], environment: dict[str, str]) -> int:
    """A command line in a process's own event loop."""
    return await asyncio.to_thread(main, arguments, environment)
