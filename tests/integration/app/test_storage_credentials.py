"""Storage as in Azure: over TLS with an Entra token, and with shared access signatures, beside the key of Azurite."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from azure.core.credentials import AccessToken, AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import HttpResponseError
from azure.data.tables import AccountSasPermissions, ResourceTypes, generate_account_sas
from azure.storage.blob.aio import ContainerClient

from local.azurite import AzuriteEndpoints
from local.azurite.account import ACCOUNT, WELL_KNOWN_DEVELOPMENT_KEY
from local_azure.keyvault.authority import server_context, write_bundle
from shared.claim_check import ClaimStore
from shared.state import Conflict, StateStore
from shared.tables import Create, Delete, Query, Replace
from shared.tables.azure import AzureTable
from tests.integration.conftest import running_azurite


class Identity:
    """A credential whose tokens have what Azurite looks at: issuer, audience and lifetime, not the signature."""

    def __init__(self, *, audience: str = "https://storage.azure.com") -> None:
        self.audience = audience
        self.asked: list[tuple[str, ...]] = []

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """A token for an hour."""
        self.asked.append(scopes)
        now = int(time.time())
        claims = {"iss": "https://sts.windows.net/tests/", "aud": self.audience, "iat": now, "nbf": now - 60}
        token = jwt.encode({**claims, "exp": now + 3_600}, "not looked at, but of a good length", algorithm="HS256")
        return AccessToken(token, now + 3_600)

    async def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> Identity:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[tuple[AzuriteEndpoints, Path]]:
    """An Azurite that speaks TLS and takes tokens, and the certificates that its clients trust."""
    folder = tmp_path_factory.mktemp("encrypted")
    server_context(folder / "tls")
    pem = str(folder / "tls" / "server.pem")
    with running_azurite(project, folder, "--oauth", "basic", "--cert", pem, "--key", pem) as endpoints:
        yield endpoints, write_bundle(folder / "tls")


async def use_table(table: AzureTable) -> None:
    """What the stores do with a table."""
    await table.ensure_created()
    rows = [{"PartitionKey": "0001", "RowKey": f"state:o'rder {number}ü", "value": "x" * number} for number in (1, 2)]
    await table.submit([Create(row) for row in rows])
    found = await table.get("0001", rows[1]["RowKey"])
    assert found is not None
    assert found["value"] == "xx"
    assert await table.get("0001", "state:another") is None
    newer = {**rows[1], "value": "new"}
    await table.submit([Replace(newer, found.etag)])
    with pytest.raises(Conflict) as stale:
        await table.submit([Delete(rows[0]), Replace(newer, found.etag)])
    assert stale.value.row_key == rows[1]["RowKey"]
    with pytest.raises(Conflict) as there:
        await table.submit([Create(rows[0])])
    assert there.value.row_key == rows[0]["RowKey"]
    left = [row["value"] async for row in table.query(Query(partition="0001", size=1))]
    assert left == ["x", "new"]
    await table.close()


async def use_stores(tables: str, blobs: str, identity: Any) -> None:
    """The app's own stores, as it opens them with an identity."""
    store = StateStore([AzureTable.at(tables, "state", identity)], buckets=4)
    row = {"PartitionKey": "0002", "RowKey": "outbox:A:1", "subject": "A", "value": "said"}
    await store.commit(2, [Create(row)])
    with pytest.raises(Conflict):
        await store.commit(2, [Create(row)])
    assert [found["value"] async for found in store.outbox(2, "A")] == ["said"]
    await store.delete(2, ["outbox:A:1", "outbox:A:2"])
    assert await store.find(2, ["outbox:A:1"]) == {}
    await store.close()
    claims = ClaimStore(ContainerClient(blobs, "claims", credential=identity))
    message_id, payload = uuid4(), os.urandom(9_000_000)
    claim = await claims.put(message_id, payload)
    assert await claims.get(message_id, claim) == payload
    await claims.close()


async def run_with_token(tables: str, blobs: str) -> dict[str, Any]:
    """Everything with a token, and what a token for something else gives."""
    identity = Identity()
    await use_table(AzureTable.at(tables, "rows", identity))
    await use_stores(tables, blobs, identity)
    stranger = AzureTable.at(tables, "rows", Identity(audience="https://vault.azure.net"))
    try:
        await stranger.get("0001", "r")
    except HttpResponseError as error:
        refused = error.status_code
    await stranger.close()
    return {"scopes": sorted({scope for scopes in identity.asked for scope in scopes}), "refused": refused}


async def test_a_token_over_tls(encrypted: tuple[AzuriteEndpoints, Path], project: Path) -> None:
    """In a process of its own, which trusts the certificate: clients are made as in the app."""
    endpoints, bundle = encrypted
    code = (
        "import asyncio, json, sys; from tests.integration.app.test_storage_credentials import run_with_token; "
        "print(json.dumps(asyncio.run(run_with_token(*sys.argv[1:]))))"
    )
    addresses = [f"https://127.0.0.1:{port}/{ACCOUNT}" for port in (endpoints.table, endpoints.blob)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        *addresses,
        cwd=project,
        env=os.environ | {"SSL_CERT_FILE": str(bundle)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert json.loads(printed) == {"scopes": ["https://storage.azure.com/.default"], "refused": 403}


@pytest.mark.parametrize("where", ["in the address", "beside it"])
async def test_a_shared_access_signature(azurite: AzuriteEndpoints, where: str) -> None:
    """As an account gives it for a while."""
    signature = generate_account_sas(
        AzureNamedKeyCredential(ACCOUNT, WELL_KNOWN_DEVELOPMENT_KEY),
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(
            read=True, write=True, delete=True, list=True, add=True, create=True, update=True, process=True
        ),
        datetime.now(UTC) + timedelta(hours=1),
    )
    address, name = f"http://127.0.0.1:{azurite.table}/{ACCOUNT}", f"sas{uuid4().hex}"
    if where == "in the address":
        await use_table(AzureTable.at(f"{address}?{signature}", name))
    else:
        await use_table(AzureTable.at(address, name, AzureSasCredential(signature)))
