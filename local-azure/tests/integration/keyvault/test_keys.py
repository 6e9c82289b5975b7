"""Keys through the SDKs: making, importing, rotating, wrapping and unwrapping."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.identity.aio import ManagedIdentityCredential
from azure.keyvault.keys import JsonWebKey, KeyClient
from azure.keyvault.keys.aio import KeyClient as AsyncKeyClient
from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm
from azure.keyvault.keys.crypto.aio import CryptographyClient as AsyncCryptographyClient
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from integration.keyvault.conftest import client_options, developer
from local_azure.testing.processes import VaultProcess

DATA_KEY = bytes(range(32))


@pytest.mark.parametrize("algorithm", [KeyWrapAlgorithm.rsa_oaep_256, KeyWrapAlgorithm.rsa_oaep])
async def test_the_app_wraps_and_unwraps_by_managed_identity(
    vault: VaultProcess, monkeypatch: pytest.MonkeyPatch, algorithm: KeyWrapAlgorithm
) -> None:
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, vault.environment[name])
    options = client_options(vault)
    async with ManagedIdentityCredential(client_id=vault.issuer.registration.client_id) as credential:
        async with AsyncKeyClient(vault.url, credential, **options) as client:
            key = await client.get_key("data-key-wrap")
        async with AsyncCryptographyClient(key, credential, **options) as crypto:
            wrapped = await crypto.wrap_key(algorithm, DATA_KEY)
            assert wrapped.encrypted_key != DATA_KEY
            assert (await crypto.unwrap_key(algorithm, wrapped.encrypted_key)).key == DATA_KEY


def test_what_an_old_version_wrapped_it_unwraps_after_a_rotation(vault: VaultProcess, keys: KeyClient) -> None:
    old = keys.create_rsa_key("turning", size=2048)
    wrapped = crypto(vault, old.id).wrap_key(KeyWrapAlgorithm.rsa_oaep_256, DATA_KEY)
    new = keys.rotate_key("turning")
    assert new.properties.version != old.properties.version
    assert keys.get_key("turning").properties.version == new.properties.version
    assert len(list(keys.list_properties_of_key_versions("turning"))) == 2
    opened = crypto(vault, wrapped.key_id or "").unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key)
    assert opened.key == DATA_KEY
    with pytest.raises(HttpResponseError) as error:
        crypto(vault, new.id).unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key)
    assert error.value.status_code == 400


def test_the_service_itself_wraps_as_the_sdk_does_locally(vault: VaultProcess, keys: KeyClient) -> None:
    """The SDK wraps with the public half by itself; the REST operation is there for those who do not."""
    keys.create_rsa_key("both")
    remote = CryptographyClient(f"{vault.url}/keys/both", developer(vault), **client_options(vault))
    encrypted = remote.encrypt(EncryptionAlgorithm.rsa_oaep_256, b"short")
    assert remote.decrypt(EncryptionAlgorithm.rsa_oaep_256, encrypted.ciphertext).plaintext == b"short"
    body = {"alg": "RSA-OAEP-256", "value": "c2hvcnQ"}
    token = developer(vault).get_token("https://vault.azure.net/.default").token
    answer = keys.send_request(_request("POST", f"{vault.url}/keys/both//wrapkey?api-version=7.6", body, token))
    wrapped = answer.json()
    assert wrapped["kid"] == keys.get_key("both").id


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_what_the_vault_signs_it_and_the_sdk_verify(vault: VaultProcess, keys: KeyClient, algorithm: str) -> None:
    key = keys.create_rsa_key("signing")
    digest = hashlib.new(f"sha{algorithm[2:]}", b"text").digest()
    signed = crypto(vault, key.id).sign(SignatureAlgorithm(algorithm), digest)
    assert signed.key_id == key.id
    assert crypto(vault, key.id).verify(SignatureAlgorithm(algorithm), digest, signed.signature).is_valid
    token = developer(vault).get_token("https://vault.azure.net/.default").token
    url = f"{vault.url}/keys/signing/{key.properties.version}/verify?api-version=7.6"
    for good, given in ((True, digest), (False, bytes(len(digest)))):
        body = {"alg": algorithm, "digest": base64url(given), "value": base64url(signed.signature)}
        assert keys.send_request(_request("POST", url, body, token)).json() == {"value": good}


def test_a_digest_of_another_length_is_refused(vault: VaultProcess, keys: KeyClient) -> None:
    key = keys.create_rsa_key("signing")
    with pytest.raises(HttpResponseError) as error:
        crypto(vault, key.id).sign(SignatureAlgorithm.rs256, b"short")
    assert error.value.status_code == 400


def test_a_key_is_backed_up_and_restored(vault: VaultProcess, keys: KeyClient) -> None:
    key = keys.create_rsa_key("kept")
    keys.rotate_key("kept")
    wrapped = crypto(vault, key.id).wrap_key(KeyWrapAlgorithm.rsa_oaep_256, DATA_KEY)
    backup = keys.backup_key("kept")
    with pytest.raises(ResourceExistsError):
        keys.restore_key_backup(backup)
    keys.begin_delete_key("kept").wait()
    with pytest.raises(ResourceExistsError):
        keys.restore_key_backup(backup)
    keys.purge_deleted_key("kept")
    keys.restore_key_backup(backup)
    assert len(list(keys.list_properties_of_key_versions("kept"))) == 2
    opened = crypto(vault, key.id).unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key)
    assert opened.key == DATA_KEY
    with pytest.raises(HttpResponseError) as error:
        keys.restore_key_backup(backup[:-1] + bytes([backup[-1] ^ 1]))
    assert error.value.status_code == 400


def test_an_imported_key_is_the_one_that_was_given(vault: VaultProcess, keys: KeyClient) -> None:
    private = generate_private_key(65_537, 2048)
    numbers = private.private_numbers()

    def octets(number: int) -> bytes:
        return number.to_bytes((number.bit_length() + 7) // 8, "big")

    jwk = JsonWebKey(
        kty="RSA",
        key_ops=["wrapKey", "unwrapKey"],
        n=octets(numbers.public_numbers.n),
        e=octets(numbers.public_numbers.e),
        d=octets(numbers.d),
        p=octets(numbers.p),
        q=octets(numbers.q),
        dp=octets(numbers.dmp1),
        dq=octets(numbers.dmq1),
        qi=octets(numbers.iqmp),
    )
    imported = keys.import_key("mine", jwk)
    assert vars(imported.key)["n"] == octets(numbers.public_numbers.n)
    assert vars(imported.key).get("d") is None
    wrapped = crypto(vault, imported.id).wrap_key(KeyWrapAlgorithm.rsa_oaep, DATA_KEY)
    assert crypto(vault, imported.id).unwrap_key(KeyWrapAlgorithm.rsa_oaep, wrapped.encrypted_key).key == DATA_KEY


def test_disabled_keys_do_nothing_and_expired_ones_only_open(vault: VaultProcess, keys: KeyClient) -> None:
    key = keys.create_rsa_key("aging")
    wrapped = crypto(vault, key.id).wrap_key(KeyWrapAlgorithm.rsa_oaep_256, DATA_KEY).encrypted_key
    keys.update_key_properties("aging", expires_on=datetime.now(UTC) - timedelta(seconds=5))
    assert crypto(vault, key.id).unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == DATA_KEY
    token = developer(vault).get_token("https://vault.azure.net/.default").token
    url = f"{vault.url}/keys/aging/{key.properties.version}"
    body = {"alg": "RSA-OAEP-256", "value": "c2hvcnQ"}
    refused = keys.send_request(_request("POST", f"{url}/wrapkey?api-version=7.6", body, token))
    assert (refused.status_code, refused.json()["error"]["innererror"]["code"]) == (403, "KeyExpired")
    keys.update_key_properties("aging", enabled=False)
    refused = keys.send_request(_request("POST", f"{url}/unwrapkey?api-version=7.6", body, token))
    assert (refused.status_code, refused.json()["error"]["innererror"]["code"]) == (403, "KeyDisabled")


def test_a_deleted_key_is_recovered_with_all_its_versions(keys: KeyClient) -> None:
    keys.create_rsa_key("lost")
    keys.rotate_key("lost")
    keys.begin_delete_key("lost").wait()
    with pytest.raises(ResourceNotFoundError):
        keys.get_key("lost")
    assert "lost" in {each.name for each in keys.list_deleted_keys()}
    keys.begin_recover_deleted_key("lost").wait()
    assert len(list(keys.list_properties_of_key_versions("lost"))) == 2
    keys.begin_delete_key("lost").wait()
    keys.purge_deleted_key("lost")
    assert "lost" not in {each.name for each in keys.list_deleted_keys()}


@pytest.mark.parametrize("kind", ["EC", "oct"])
def test_other_kinds_of_keys_are_refused(keys: KeyClient, kind: str) -> None:
    with pytest.raises(HttpResponseError) as error:
        keys.create_key(f"kind-{kind}", kind)
    assert error.value.status_code == 400


def crypto(vault: VaultProcess, key_id: str) -> CryptographyClient:
    return CryptographyClient(key_id, developer(vault), **client_options(vault))


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _request(method: str, url: str, body: dict[str, str], token: str) -> HttpRequest:
    return HttpRequest(method, url, json=body, headers={"Authorization": f"Bearer {token}"})
