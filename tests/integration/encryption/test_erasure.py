"""Forgetting a person, with proof, on the stores of the app."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from azure.eventhub import EventData

from functions.composition import Composition
from functions.composition.encryption import SUBJECT_KEYS_TABLE, subject_keys, token_keys, wrapper
from functions.composition.platform import Platform, platform
from functions.composition.read_models import VIEWS_TABLE
from functions.composition.state import STATE_TABLE
from local.azurite import AzuriteEndpoints
from local_azure.testing.processes import BrokerProcess
from ops.erasing import DONE, WRONG, _erase, _parse, main
from shared.encryption import encrypt_text
from shared.messages import Registry
from shared.settings import Settings
from shared.tables import Query, Table, Upsert
from shared.tokenization import TokenKeys
from tests.integration.encryption.test_keys import secret_wrapper
from tests.unit.shared.encryption.vault import MemorySecrets


class OwnTables(Platform):
    """Azurite and broker with tables that no other test has."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._suffix = uuid4().hex[:12]

    def table(self, name: str, *, account: int = 0) -> Table:
        """A table of this test."""
        return super().table(f"{name}{self._suffix}", account=account)


class App:
    """The app's stores, with two people in them."""

    def __init__(self, composition: Composition) -> None:
        self.composition = composition
        self.clients = composition.get(platform)

    async def fill(self) -> None:
        """Encrypted values of each person in the state, the read models and the event log."""
        found, keys = self.composition.get(token_keys), self.composition.get(subject_keys)
        assert found is not None
        assert keys is not None
        tokens = await found.tokens()
        for customer in ("17850", "13047"):
            key = await keys.key_for(tokens.token("customer", customer))
            for table in (self.clients.table(STATE_TABLE), self.clients.table(VIEWS_TABLE)):
                value = json.dumps(
                    {"name": encrypt_text(key, "Ada", aad=b"a"), "mail": encrypt_text(key, "a@b", aad=b"b")}
                )
                await table.submit([Upsert({"PartitionKey": "p", "RowKey": customer, "value": value})])
                await table.close()
            producer = self.clients.producer()
            async with producer:
                event = EventData(json.dumps({"data": {"name": encrypt_text(key, "Ada", aad=b"c")}}))
                await producer.send_batch([event], partition_id="0")

    async def erase(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
        """The command's exit code and report."""
        known = _parse([*arguments, "--json"])
        code = await _erase(known, self.composition)
        return code, json.loads(capsys.readouterr().out)


@pytest.fixture
async def app(azurite: AzuriteEndpoints, emulator: BrokerProcess) -> AsyncIterator[App]:
    """On tables of its own."""
    settings = Settings.load(
        {
            "ServiceBus": str(emulator),
            "EventHubs": str(emulator),
            "State": azurite.connection_string,
            "Claims": azurite.connection_string,
            "KeyVault__vaultUri": "https://vault.example",
            "SLUICE_DATA_KEY": "secret:data-key",
            "SLUICE_TOKEN_KEY": "secret:token-key",
            "SLUICE_OPERATION_KEY": "k" * 40,
        }
    )
    parts = {
        platform: OwnTables(settings),
        wrapper: secret_wrapper(),
        token_keys: TokenKeys(MemorySecrets(token_key="t" * 40), "token-key"),
    }
    composition = Composition(settings, Registry([]), parts=parts)
    made = App(composition)
    for one in (made.clients.table(STATE_TABLE), made.clients.table(VIEWS_TABLE)):
        await one.ensure_created()
        await one.close()
    await made.fill()
    yield made
    await composition.close()


async def test_an_erasure_shows_what_was_readable_and_that_it_is_not_any_more(
    app: App, capsys: pytest.CaptureFixture[str]
) -> None:
    """In every store, for this person only; who and why stay, by the token."""
    expected = {"state": 2, "read models": 2, "tokens": 0, "event log": 1}

    code, report = await app.erase(capsys, "17850", "--by", "ada", "--reason", "asked for it")
    assert (code, report["proven"]) == (DONE, True)
    assert {found["store"]: found["openable"] for found in report["before"]} == expected
    assert {found["store"]: found["openable"] for found in report["after"]} == dict.fromkeys(expected, 0)
    assert {found["store"]: found["values"] for found in report["after"]} == expected
    assert report["after"][0]["refused"] == {"SUBJECT_ERASED": 2}
    assert "17850" not in json.dumps({**report, "before": [], "after": []})

    _, other = await app.erase(capsys, "13047", "--dry-run")
    assert {found["store"]: found["openable"] for found in other["before"]} == expected
    assert other["erased"] == []

    rows = app.clients.table(SUBJECT_KEYS_TABLE)
    found = [dict(row) async for row in rows.query(Query()) if row["RowKey"].startswith("audit:")]
    await rows.close()
    assert [(row["by"], row["reason"], row["action"]) for row in found] == [("ada", "asked for it", "erased")]
    assert "17850" not in json.dumps(found, default=str)


def test_an_erasure_needs_a_reason_and_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is done on a slip of the hand."""
    assert main(["17850"], {}) == WRONG
    assert "--reason" in capsys.readouterr().err
    assert main(["17850", "--dry-run"], {}) == WRONG
    assert main([], {}) == WRONG
