"""What the Delta library is told of the lake's account."""

from __future__ import annotations

import pytest

from shared.environment import Connection, WrongSettings
from shared.lake import LakeAccount
from shared.lake.settings import LakeSettings


def options(text: str) -> dict[str, str]:
    """Of a connection string, without those that bound a request."""
    found = LakeAccount.of(Connection(connection_string=text), "lake").storage_options  # type: ignore[arg-type]
    return {name: value for name, value in found.items() if name in ("account_name", "endpoint", "allow_http")}


def test_a_connection_string_says_account_and_address() -> None:
    """At the address that it names, or at the cloud's; http is only for an emulator's."""
    azure = "DefaultEndpointsProtocol=https;AccountName=stlake;AccountKey=a2V5;EndpointSuffix=core.windows.net"
    assert options(azure) == {"account_name": "stlake", "endpoint": "https://stlake.blob.core.windows.net"}
    local = "AccountName=devstoreaccount1;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:7/devstoreaccount1/"
    assert options(local) == {
        "account_name": "devstoreaccount1",
        "endpoint": "http://127.0.0.1:7/devstoreaccount1",
        "allow_http": "true",
    }
    assert options("UseDevelopmentStorage=true")["endpoint"] == "http://127.0.0.1:10000/devstoreaccount1"
    with pytest.raises(ValueError, match="AccountName and AccountKey"):
        options("AccountName=stlake;SharedAccessSignature=sv=1")


def test_in_azure_it_is_the_apps_identity() -> None:
    """No key is there; the identity is the one that the connection names."""
    settings = LakeSettings.load(
        {"Lake__blobServiceUri": "https://stlake.blob.core.usgovcloudapi.net", "Lake__clientId": "c-1"}
    )
    assert settings.lake is not None
    account = LakeAccount.of(settings.lake, settings.lake_container)
    assert account.uri("silver/order_accepted") == "az://lake/silver/order_accepted"
    assert account.storage_options["account_name"] == "stlake"
    assert account.storage_options["endpoint"] == "https://stlake.blob.core.usgovcloudapi.net"
    assert account.storage_options["client_id"] == "c-1"
    assert "access_key" not in account.storage_options


def test_without_its_account_there_is_no_lake() -> None:
    """And an address of another service is none of it."""
    assert LakeSettings.load({}).lake is None
    with pytest.raises(WrongSettings, match="__blobServiceUri, not with __tableServiceUri"):
        LakeSettings.load({"Lake__tableServiceUri": "https://stlake.table.core.windows.net"})
