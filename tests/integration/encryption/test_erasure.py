"""Forgetting a person, with proof, on the stores of the app."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from azure.eventhub import EventData

from functions import Services
from functions.protection import Protection
from local.azurite import AzuriteEndpoints
from ops.erasing import DONE, WRONG, _erase, _parse, main
from shared.encryption import encrypt_text
from shared.messages import Registry
from shared.settings import Settings
from shared.tables import Query, Upsert
from shared.tokenization import TokenKeys
from tests.integration.conftest import RunningEmulator
from tests.integration.encryption.test_keys import secret_wrapper
from tests.unit.shared.encryption.vault import MemorySecrets


class App:
    """The app's stores, with two people in them."""

    def __init__(self, services: Services, protection: Protection, tokens: TokenKeys) -> None:
        self.services = services
        self.protection = protection
        self.token_keys = tokens

    async def fill(self) -> None:
        """Encrypted values of each person in the state, the read models and the event log."""
        tokens = await self.token_keys.tokens()
        for customer in ("17850", "13047"):
            key = await self.protection.subject_keys.key_for(tokens.token("customer", customer))
            (state,) = self.services.tables_of_state()
            for table in (state, self.services.table_of_views()):
                value = json.dumps(
                    {"name": encrypt_text(key, "Ada", aad=b"a"), "mail": encrypt_text(key, "a@b", aad=b"b")}
                )
                await table.submit([Upsert({"PartitionKey": "p", "RowKey": customer, "value": value})])
                await table.close()
            producer = self.services._producer()
            async with producer:
                event = EventData(json.dumps({"data": {"name": encrypt_text(key, "Ada", aad=b"c")}}))
                await producer.send_batch([event], partition_id="0")

    async def erase(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
        """The command's exit code and report."""
        known = _parse([*arguments, "--json"])
        code = await _erase(known, self.services, self.protection, self.token_keys)
        return code, json.loads(capsys.readouterr().out)


@pytest.fixture
async def app(
    azurite: AzuriteEndpoints, emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[App]:
    """On tables of its own."""
    name = uuid4().hex[:12]
    for table in ("STATE_TABLE", "VIEWS_TABLE"):
        monkeypatch.setattr(f"functions.services.{table}", f"{table[:5]}{name}".replace("_", ""))
    for table in ("DATA_KEYS_TABLE", "SUBJECT_KEYS_TABLE", "TOKENS_TABLE"):
        monkeypatch.setattr(f"functions.protection.{table}", f"{table[:6]}{name}".replace("_", ""))
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
    services = Services(settings, Registry([]))
    protection = services.protection
    assert protection is not None
    vars(protection)["_wrapper"] = secret_wrapper()
    tables = [*services.tables_of_state(), services.table_of_views()]
    for one in tables:
        await one.ensure_created()
        await one.close()
    made = App(services, protection, TokenKeys(MemorySecrets(token_key="t" * 40), "token-key"))
    await made.fill()
    yield made
    await services.close()


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

    rows = app.protection._table(app.protection._subject_rows._table.name)
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
