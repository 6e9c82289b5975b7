"""A handler asks for a secret: through the app's own composition, from the local vault, by the managed identity."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from functions.composition import Composition
from functions.composition.processing import processor
from functions.composition.secrets import secret_cache, vaults
from functions.composition.state import state_store
from local.azurite import AzuriteEndpoints
from shared.messages import Contract, Delivery, Integration, Lane, Registry, address
from shared.settings import Settings
from shared.state import StateStore
from shared.tables.azure import AzureTable
from shared.work import Work
from tests.integration.conftest import RunningVault

from .conftest import NewClient

SECRET = "handlers-carrier-key"


class Parcel(Contract):
    """What is to be labelled."""

    parcel_id: str


def delivery(carrier: Integration, parcel: str) -> Delivery:
    """A command as the trigger hands it over."""
    handler = Registry([carrier]).handler("parcel.labelled", "1.0")
    letter = address(handler, Parcel(parcel_id=parcel), source="/tests", now=datetime.now(UTC))
    letter = letter.follow(replace(letter.headers, message_id=uuid4()), number=1, traceparent=None)
    return Delivery(
        body=letter.body,
        properties={str(name): value for name, value in letter.headers.to_properties().items()},
        message_id=letter.headers.broker_id,
        sequence_number=1,
        delivery_count=1,
    )


async def test_a_handler_gets_the_current_version(
    vault: RunningVault, azurite: AzuriteEndpoints, client: NewClient
) -> None:
    """One read for a whole batch, and the next version once the vault has told of it."""
    carrier = Integration("carrier")
    seen: list[str] = []

    @carrier.handles("parcel.labelled", key="parcel_id")
    async def label(_: Parcel, work: Work) -> None:
        seen.append((await work.secret(SECRET)).value)

    access = "SharedAccessKeyName=any;SharedAccessKey=any"
    broker = f"Endpoint=sb://localhost;{access};UseDevelopmentEmulator=true"
    storage = dict.fromkeys(("State", "Claims"), azurite.connection_string)
    environment = {"ServiceBus": broker, "EventHubs": broker, "KeyVault__vaultUri": vault.url, **storage}
    table = AzureTable.from_connection_string(azurite.connection_string, f"state{uuid4().hex}")
    store = StateStore([table], buckets=4)  # other tests lay theirs out otherwise
    composition = Composition(
        Settings.load(environment | {"SLUICE_OPERATION_KEY": "-" * 40, "SLUICE_STATE_BUCKETS": "4"}),
        Registry([carrier]),
        parts={state_store: store, vaults: (client(vault),)},
    )
    try:
        await client(vault).write(SECRET, "the first value", tags={}, expires=None)
        vault.administer("DELETE", "requests")
        await composition.get(processor).process(
            Lane.NORMAL, [delivery(carrier, f"parcel-{number}") for number in range(20)]
        )
        assert seen == ["the first value"] * 20
        assert vault.requests()["items"]["secrets/get"] == {SECRET: 1}
        await client(vault).write(SECRET, "the second value", tags={}, expires=None)
        assert await composition.get(secret_cache).changed(SECRET)
        await composition.get(processor).process(Lane.NORMAL, [delivery(carrier, "parcel-20")])
        assert seen[20:] == ["the second value"]
    finally:
        await composition.close()
        await store.close()
