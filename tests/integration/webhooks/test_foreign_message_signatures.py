"""HTTP message signatures of others: two libraries that nobody here wrote sign for us, and verify what we sign."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import http_message_signatures as foreign
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from shared.http_signatures import SignedRequest, Signer, content_digest
from shared.webhooks import Incoming, MessageSignatures, NotGenuine
from tests.integration.webhooks.test_foreign_signers import Ask, ask

__all__ = ["ask"]

NOW = datetime.now(UTC).replace(microsecond=0)
URL = "https://shop.example/api/webhooks/erp?a=1"
BODY = json.dumps({"id": "7", "text": "Grüße"}, ensure_ascii=False).encode()
HEADERS = {"content-type": "application/json", "content-digest": content_digest(BODY)}
COVERED = ("@method", "@target-uri", '"@query-param";name="a"', "content-digest", "content-type")
SHARED = base64.b64encode(b"an example secret of 32 bytes...").decode()
ALGORITHMS: dict[str, type[foreign.HTTPSignatureAlgorithm]] = {
    "ed25519": foreign.algorithms.ED25519,
    "ecdsa-p256-sha256": foreign.algorithms.ECDSA_P256_SHA256,
    "rsa-pss-sha512": foreign.algorithms.RSA_PSS_SHA512,
    "rsa-v1_5-sha256": foreign.algorithms.RSA_V1_5_SHA256,
    "hmac-sha256": foreign.algorithms.HMAC_SHA256,
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The foreign library asks the machine's clock, and this module may have been read minutes ago."""
    monkeypatch.setattr(sys.modules[__name__], "NOW", datetime.now(UTC).replace(microsecond=0))


@pytest.fixture(scope="module")
def keys() -> dict[str, tuple[str, str]]:
    """Private and public key of each algorithm, as a vault has them."""

    def pair(private: Any) -> tuple[str, str]:
        secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return secret, private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    of_rsa = pair(rsa.generate_private_key(65_537, 2_048))
    return {
        "ed25519": pair(ed25519.Ed25519PrivateKey.generate()),
        "ecdsa-p256-sha256": pair(ec.generate_private_key(ec.SECP256R1())),
        "rsa-pss-sha512": of_rsa,
        "rsa-v1_5-sha256": of_rsa,
        "hmac-sha256": (SHARED, SHARED),
    }


@dataclass
class Message:
    """A request as the Python library takes it."""

    method: str = "POST"
    url: str = URL
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


def resolver(algorithm: str, pair: tuple[str, str]) -> Any:
    """The library's keys."""
    private, public = (base64.b64decode(SHARED),) * 2 if algorithm == "hmac-sha256" else [one.encode() for one in pair]
    return foreign.MappingKeyResolver(private_keys={"k1": private}, public_keys={"k1": public})


def incoming(headers: dict[str, str]) -> Incoming:
    """A request with these headers."""
    return Incoming("POST", URL, {name.lower(): value for name, value in headers.items()}, BODY, {"a": "1"})


def check(algorithm: str, given: Incoming, public: str) -> None:
    """It is genuine, and another body, address or time makes it none."""
    scheme = MessageSignatures(algorithm=algorithm, required=COVERED, key_id="k1")  # type: ignore[arg-type]
    scheme.verify(given, [public], now=NOW)
    for tampered in (replace(given, body=BODY + b" "), replace(given, url=URL + "2"), replace(given, method="PUT")):
        with pytest.raises(NotGenuine):
            scheme.verify(tampered, [public], now=NOW)
    with pytest.raises(NotGenuine):
        scheme.verify(given, [public], now=NOW + timedelta(hours=1))


def ours(algorithm: str, private: str) -> dict[str, str]:
    """Headers with a signature of ours."""
    signer = Signer(algorithm=algorithm, covered=COVERED, key_id="k1", expires=60)
    request = SignedRequest("POST", URL, {"content-type": "application/json"}, BODY)
    return {"content-type": "application/json", **signer.sign(request, private, now=NOW, nonce="n1")}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_python_library_both_ways(algorithm: str, keys: dict[str, tuple[str, str]]) -> None:
    known = {"signature_algorithm": ALGORITHMS[algorithm], "key_resolver": resolver(algorithm, keys[algorithm])}
    message = Message()
    foreign.HTTPMessageSigner(**known).sign(
        message,
        key_id="k1",
        covered_component_ids=COVERED,
        created=NOW,
        expires=NOW + timedelta(seconds=60),
        body=BODY,
    )
    check(algorithm, incoming(message.headers), keys[algorithm][1])
    found = foreign.HTTPMessageVerifier(**known).verify(
        Message(headers=ours(algorithm, keys[algorithm][0])), require_components=COVERED, body=BODY
    )
    assert [one.body for one in found] == [BODY]


def test_the_javascript_library_both_ways(ask: Ask, keys: dict[str, tuple[str, str]]) -> None:
    seconds, names = int(NOW.timestamp()), list(ALGORITHMS)
    request: Callable[[dict[str, str]], dict[str, Any]] = lambda headers: {  # noqa: E731
        "method": "POST",
        "url": URL,
        "headers": headers,
    }
    signed = ask([("message signatures", [keys[one][0], one, request(HEADERS), seconds]) for one in names])
    for algorithm, headers in zip(names, signed, strict=True):
        check(algorithm, incoming(headers), keys[algorithm][1])
    own = {one: {name.lower(): value for name, value in ours(one, keys[one][0]).items()} for one in names}
    verified = ask([("message signatures verifies", [keys[one][1], one, request(own[one]), seconds]) for one in names])
    assert verified == [True] * len(names)
