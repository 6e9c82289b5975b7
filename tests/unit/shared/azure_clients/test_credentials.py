"""One credential for each identity, of the cloud that the settings name; nothing is probed."""

from __future__ import annotations

import pytest
from azure.identity import AzureAuthorityHosts
from azure.identity.aio import AzureCliCredential, ManagedIdentityCredential

from shared.azure_clients import Credentials
from shared.environment import Cloud, Connection


def connection(client: str | None) -> Connection:
    """A connection by managed identity, or by the developer's own login."""
    managed = {} if client is None else {"credential": "managedidentity", "clientId": client}
    return Connection.model_validate({"blobServiceUri": "https://example.com", **managed})


async def test_an_identity_has_one_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many connections it has; another identity has another."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:9/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "nobody")
    made = Credentials()
    one, other, mine = connection("one"), connection("other"), connection(None)
    assert made.get(one) is made.get(connection("one"))
    assert made.get(one) is not made.get(other)
    assert isinstance(made.get(one), ManagedIdentityCredential)
    assert isinstance(made.get(mine), AzureCliCredential)
    first = made.get(one)
    await made.close()
    assert made.get(one) is not first
    await made.close()


@pytest.mark.parametrize(
    ("cloud", "host"),
    [
        (Cloud.PUBLIC, AzureAuthorityHosts.AZURE_PUBLIC_CLOUD),
        (Cloud.USGOV, AzureAuthorityHosts.AZURE_GOVERNMENT),
        (Cloud.CHINA, AzureAuthorityHosts.AZURE_CHINA),
    ],
)
def test_a_cloud_has_the_authority_that_the_sdk_knows(cloud: Cloud, host: str) -> None:
    """Tokens of one cloud are worth nothing in another."""
    assert cloud.authority == host
