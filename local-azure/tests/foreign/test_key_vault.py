"""Key Vault through the clients of each language, with no option that weakens them in Azure."""

from __future__ import annotations

import base64
import hashlib

import pytest

from foreign.driver import Driver, Refused
from foreign.spoken import SDKS, spoken_by
from local_azure.testing.processes import VaultProcess

DIGEST = base64.b64encode(hashlib.sha256(b"text").digest()).decode()
OTHER = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
DATA_KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(scope="module")
def token(vault: VaultProcess) -> str:
    """A bearer token of an administrator."""
    return vault.issuer.token(audience="https://vault.azure.net")


@pytest.fixture
def keys(client: Driver, vault: VaultProcess, token: str) -> Driver:
    """The driver, connected to the vault by its name."""
    client.call("kv_connect", url=vault.address.named_url, token=token, ca=vault.ca_bundle)
    return client


@pytest.fixture
def name(language: str, request: pytest.FixtureRequest) -> str:
    """A name that no other test has."""
    return f"{request.node.originalname.replace('_', '-')[:80]}-{language}"


@spoken_by(*SDKS)
def test_a_secret_has_versions(keys: Driver, name: str) -> None:
    first = keys.call("kv_set", name=name, value="one", tags={"a": "b"})
    second = keys.call("kv_set", name=name, value="two")
    assert keys.call("kv_get", name=name)["value"] == "two"
    assert keys.call("kv_get", name=name, version=first) == {"value": "one", "tags": {"a": "b"}}
    assert sorted(keys.call("kv_versions", name=name)) == sorted([first, second])


@spoken_by(*SDKS)
def test_an_unknown_secret_is_not_found(keys: Driver) -> None:
    with pytest.raises(Refused) as error:
        keys.call("kv_get", name="nothing")
    assert error.value.code == "not-found"


@spoken_by(*SDKS)
@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_a_key_signs_and_verifies(keys: Driver, name: str, algorithm: str) -> None:
    key = keys.call("kv_create_key", name=name)
    signature = keys.call("kv_sign", key=key, algorithm=algorithm, digest=DIGEST)
    assert keys.call("kv_verify", key=key, algorithm=algorithm, digest=DIGEST, signature=signature) is True
    assert keys.call("kv_verify", key=key, algorithm=algorithm, digest=OTHER, signature=signature) is False


@spoken_by(*SDKS)
def test_an_old_version_of_a_key_unwraps(keys: Driver, name: str) -> None:
    key = keys.call("kv_create_key", name=name)
    wrapped = keys.call("kv_wrap", key=key, algorithm="RSA-OAEP-256", value=DATA_KEY)
    assert keys.call("kv_rotate_key", name=name) != key
    assert keys.call("kv_unwrap", key=key, algorithm="RSA-OAEP-256", value=wrapped) == DATA_KEY


@spoken_by(*SDKS)
@pytest.mark.parametrize("kind", ["secret", "key"])
def test_what_was_backed_up_is_restored_with_all_versions(keys: Driver, name: str, kind: str) -> None:
    made = keys.call("kv_set", name=name, value="kept") if kind == "secret" else keys.call("kv_create_key", name=name)
    backup = keys.call("kv_backup", kind=kind, name=name)
    with pytest.raises(Refused) as error:
        keys.call("kv_restore", kind=kind, backup=backup)
    assert error.value.code == "exists"
    keys.call("kv_purge", kind=kind, name=name)
    keys.call("kv_restore", kind=kind, backup=backup)
    if kind == "secret":
        assert keys.call("kv_get", name=name, version=made)["value"] == "kept"
    else:
        signature = keys.call("kv_sign", key=made, algorithm="RS256", digest=DIGEST)
        assert keys.call("kv_verify", key=made, algorithm="RS256", digest=DIGEST, signature=signature) is True
