"""Calls with HTTP message signatures, which a foreign verifier checks."""

from __future__ import annotations

import base64
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver, algorithms
from yarl import URL

from shared.http_signatures import Signer
from shared.partners import ApiKey, MessageSigned, PartnerError
from tests.unit.shared.partners.test_auth import PARCEL, Vault, guarded
from tests.unit.shared.partners.world import Label

SHARED = base64.b64encode(b"an example secret of 32 bytes...").decode()
COVERED = ("@method", "@target-uri", "content-digest", "content-type")


class ClocklessVerifier(HTTPMessageVerifier):
    """The world's clock stands still."""

    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        """Any time."""


async def test_a_message_signature_is_verified_by_a_foreign_verifier() -> None:
    """It is over the address with its query, the type and the body."""
    how = MessageSigned(
        secret="signing", how=Signer(algorithm="hmac-sha256", covered=COVERED, key_id="sluice", expires=60)
    )
    async with guarded((how, ApiKey(secret="key", query="key")), Vault(signing=SHARED, key="k&1")) as carrier:
        await carrier.calls().post("/labels", Label, PARCEL, query={"a": "b c"})
        (asked,) = carrier.asked
    url = URL(f"http://{asked.headers['host']}{asked.path}").with_query(asked.query)
    message = SimpleNamespace(method="POST", url=str(url), headers=dict(asked.headers))
    keys = MappingKeyResolver(private_keys={}, public_keys={"sluice": base64.b64decode(SHARED)})
    verifier = ClocklessVerifier(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=keys)
    (found,) = verifier.verify(message, require_components=COVERED, body=asked.body)
    assert found.body == asked.body
    with pytest.raises(Exception, match="Content-Digest"):
        verifier.verify(message, require_components=COVERED, body=asked.body + b" ")


async def test_a_key_of_another_algorithm_is_no_fault_of_the_partner() -> None:
    """The error names the secret alone, and nothing was sent."""
    how = Signer(algorithm="rsa-pss-sha512")
    async with guarded(MessageSigned(secret="signing", how=how), Vault(signing=SHARED)) as carrier:
        with pytest.raises(PartnerError, match="the secret signing") as raised:
            await carrier.calls().post("/labels", Label, PARCEL)
        assert SHARED not in str(raised.value)
        assert not raised.value.sent
        assert not raised.value.tells
        assert not carrier.asked


async def test_what_cannot_be_signed_is_no_good_call_either() -> None:
    """A breaker that is half open isn't closed by it."""
    how = MessageSigned(secret="signing", how=Signer(algorithm="hmac-sha256", covered=(*COVERED, "x-absent")))
    async with guarded(how, Vault(signing=SHARED)) as carrier:
        with pytest.raises(PartnerError, match="the secret signing") as raised:
            await carrier.calls().post("/labels", Label, PARCEL)
        assert not raised.value.tells
        assert not carrier.asked


async def test_a_private_key_is_read_once_and_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading one of RSA takes as long as many signatures; a key that was rotated is read anew."""
    read: list[bool] = []
    load = serialization.load_pem_private_key

    def counted(data: bytes, password: None) -> Any:
        read.append(threading.current_thread() is threading.main_thread())
        return load(data, password)

    def pem() -> str:
        key = rsa.generate_private_key(65537, 2048)
        how = serialization.PrivateFormat.PKCS8
        return key.private_bytes(serialization.Encoding.PEM, how, serialization.NoEncryption()).decode()

    monkeypatch.setattr(serialization, "load_pem_private_key", counted)
    vault = Vault(signing=pem())
    how = Signer(algorithm="rsa-pss-sha512", covered=COVERED)
    async with guarded(MessageSigned(secret="signing", how=how), vault) as carrier:
        for _ in range(3):
            await carrier.calls().post("/labels", Label, PARCEL)
        assert read == [False]
        vault.rotate("signing", pem())
        vault.cached.clear()
        for _ in range(3):
            await carrier.calls().post("/labels", Label, PARCEL)
        assert read == [False, False]
