"""The audit trail on real storage: what commands leave, how it is checked, and by a reader that isn't ours."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from functions.composition import Composition
from functions.composition.audit import audit_chain
from local.azurite import AzuriteEndpoints
from local.setup import Environment, find_node
from ops import auditing, distrusting, pausing, polls
from ops.auditing import audited
from shared.audit import AuditChain, AuditRecord, check
from shared.messages import Registry
from shared.partners import Partner, PartnerModel, Polled
from shared.settings import Settings
from shared.tables import Delete, Entity, Query, Replace
from shared.tables.azure import AzureTable

NODE = """
const { createHash } = require('node:crypto');
const { records } = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
let previous = '0'.repeat(64);
for (const [index, { number, record, hash }] of records.entries()) {
  const expected = createHash('sha256').update(previous + '\\n' + record, 'utf8').digest('hex');
  if (number !== index + 1 || JSON.parse(record).number !== number || hash !== expected) {
    console.log('broken at ' + (index + 1));
    process.exit(1);
  }
  previous = hash;
}
console.log('whole: ' + records.length);
"""


@pytest.fixture
def settings(azurite: AzuriteEndpoints, project: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the command lines read; the trail has a table of its own."""
    values = json.loads((project / "local.settings.sample.json").read_text())["Values"]
    storage, name = azurite.connection_string, f"audit{uuid4().hex}"
    monkeypatch.setattr("functions.composition.audit.AUDIT_TABLE", name)
    nowhere = "Endpoint=sb://127.0.0.1:9/;SharedAccessKeyName=none;SharedAccessKey=bm9uZQ=="
    connections = {"ServiceBus": nowhere, "EventHubs": nowhere, "State": storage, "Claims": storage}
    return {**values, **connections, "SLUICE_OPERATION_KEY": "k" * 32, "SLUICE_AUTH": "none", "TABLE": name}


def run(main: Any, *words: str, settings: dict[str, str], code: int = 0) -> str:
    printed, said = io.StringIO(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(said):
        assert main(list(words), settings) == code, (printed.getvalue(), said.getvalue())
    return printed.getvalue()


def records(settings: dict[str, str]) -> list[dict[str, Any]]:
    listed = json.loads(run(auditing.main, "list", "--json", settings=settings))
    return [json.loads(one["record"]) for one in listed["records"]]


async def change(settings: dict[str, str], row: str, columns: dict[str, Any] | None) -> None:
    table = AzureTable.from_connection_string(settings["State"], settings["TABLE"])
    known = await table.get("operators", row)
    assert known is not None
    await table.submit([Delete(known, known.etag) if columns is None else Replace({**known, **columns}, known.etag)])
    await table.close()


class Anything(PartnerModel):
    """What a partner answers."""


def everything(page: Anything) -> Polled:
    return Polled(items=[])


def node(project: Path) -> str:
    found = find_node(Environment(project))
    assert found is not None
    return str(found.executable)


def test_what_operators_do_is_recorded_and_every_tampering_is_named(settings: dict[str, str], project: Path) -> None:
    assert "nothing was recorded" in run(auditing.main, "list", settings=settings)
    assert "whole: 0 records" in run(auditing.main, "verify", settings=settings)
    run(pausing.pause, "lane", "low", "--reason", "a leak", "--by", "ada", settings=settings)
    run(pausing.resume, "lane", "low", "--reason", "mended", settings=settings)
    run(distrusting.distrust, "kid-1", "--reason", "stolen", "--by", "ada", settings=settings)
    run(distrusting.trust, "kid-1", settings=settings)
    run(distrusting.trust, "kid-1", settings=settings, code=1)
    found = records(settings)
    assert [(one["verb"], one["phase"]) for one in found] == [
        (verb, phase)
        for verb in ("pause", "resume", "distrust-key", "trust-key", "trust-key")
        for phase in ("begun", "ended")
    ]
    assert (found[0]["by"], found[0]["reason"], found[0]["about"]) == ("ada", "a leak", {"kind": "lane", "name": "low"})
    assert found[0]["run"] == found[1]["run"] != found[2]["run"]
    assert found[1]["about"] == {"outcome": "done", "exitCode": 0}
    assert found[9]["about"]["trusted"] is False

    listed = run(auditing.main, "list", "--json", settings=settings)
    script = [node(project), "-e", NODE]
    foreign = subprocess.run(script, input=listed, capture_output=True, text=True, timeout=60, check=True)
    assert foreign.stdout == "whole: 10\n"
    assert "whole: 10 records" in run(auditing.main, "verify", settings=settings)
    last = json.loads(run(auditing.main, "verify", "--json", settings=settings))["last"]

    third = json.loads(listed)["records"][2]
    asyncio.run(change(settings, "000000000003", {"record": third["record"].replace("low", "high")}))
    assert "broken: record 3 was changed" in run(auditing.main, "verify", settings=settings, code=1)
    tampered = run(auditing.main, "list", "--json", settings=settings)
    foreign = subprocess.run(script, input=tampered, capture_output=True, text=True, timeout=60, check=False)
    assert (foreign.returncode, foreign.stdout) == (1, "broken at 3\n")
    asyncio.run(change(settings, "000000000003", {"record": third["record"]}))
    assert "whole" in run(auditing.main, "verify", settings=settings)

    asyncio.run(change(settings, "000000000010", None))
    assert "record 10 is missing: the head counts 10" in run(auditing.main, "verify", settings=settings, code=1)
    nine = json.loads(listed)["records"][8]
    asyncio.run(change(settings, "head", {"number": 9, "hash": nine["hash"]}))  # by somebody who knows how
    assert "whole" in run(auditing.main, "verify", settings=settings)
    known = ("--known", f"10:{last}")
    assert "the log knows 10" in run(auditing.main, "verify", *known, settings=settings, code=1)
    run(auditing.main, "verify", "--known", "10:abc", settings=settings, code=2)


def test_a_poll_begins_elsewhere_only_on_record(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    carrier = Partner("carrier")
    registry = Registry([], beside=[carrier, carrier.polls("/shipments", every="5m", sends="x.y")(everything)])
    monkeypatch.setattr(polls, "discover", lambda _: registry)
    settings = {**settings, "SLUICE_PARTNER_URLS": "carrier=http://127.0.0.1:9"}
    for words in ([], ["--reason", " "], ["--reason", "r", "--by", ""]):
        run(polls.main, "carrier.everything", "--to", "7", *words, settings=settings, code=2)
    assert records(settings) == []
    decided = ["carrier.everything", "--to", "7", "--by", "ada", "--reason", "it was skipped", "--json"]
    (shown,) = json.loads(run(polls.main, *decided, settings=settings))["polls"]
    assert shown["since"] == "7"
    run(polls.main, settings=settings)
    begun, ended = records(settings)
    assert (begun["verb"], begun["phase"], begun["by"], begun["reason"]) == ("polls", "begun", "ada", "it was skipped")
    assert begun["about"] == {"name": "carrier.everything", "to": "7"}
    assert (ended["phase"], ended["about"]["outcome"]) == ("ended", "done")


async def test_a_command_that_is_killed_or_fails_shows(settings: dict[str, str]) -> None:
    composition = Composition(Settings.load(settings), Registry([]))
    with pytest.raises(KeyboardInterrupt):
        async with audited(composition, "erase", by="ada", reason="asked", subject="tok_1"):
            raise KeyboardInterrupt
    chain = composition.get(audit_chain)
    await chain.add(
        AuditRecord(run="killed", verb="erase", phase="begun", by="ada", login="x", reason="y")
    )  # and nothing more: SIGKILL
    found = [one.content() async for one in chain.records()]
    await composition.close()
    assert [one["phase"] for one in found] == ["begun", "ended", "begun"]
    assert found[1]["about"] == {"outcome": "failed: KeyboardInterrupt"}


async def test_nothing_is_done_that_cannot_be_recorded(settings: dict[str, str]) -> None:
    class Away(AuditChain):
        async def add(self, record: AuditRecord) -> Any:
            raise ConnectionError("the store is away")

    chain = Away(AzureTable.from_connection_string(settings["State"], settings["TABLE"]), now=lambda: datetime.now(UTC))
    composition = Composition(Settings.load(settings), Registry([]), parts={audit_chain: chain})
    with pytest.raises(ConnectionError):
        async with audited(composition, "pause", by="ada", reason="a leak"):
            raise AssertionError("it was done")


async def test_two_clients_at_once_share_one_chain(settings: dict[str, str]) -> None:
    tables = [AzureTable.from_connection_string(settings["State"], settings["TABLE"]) for _ in range(2)]
    chains = [AuditChain(table, now=lambda: datetime.now(UTC)) for table in tables]
    record = AuditRecord(run="r", verb="pause", phase="begun", by="ada", login="x", reason="y")
    for chain in chains:
        await chain.add(record)
    await asyncio.gather(*(chain.add(record) for chain in chains for _ in range(4)))
    found = [one async for one in chains[0].records()]
    rows: list[Entity] = [row async for row in tables[0].query(Query(partition="operators"))]
    assert (len(found), len(rows)) == (10, 11)
    assert check(found, await chains[1].head()) is None
    for table in tables:
        await table.close()
