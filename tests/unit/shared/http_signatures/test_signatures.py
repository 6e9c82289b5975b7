"""Signing and verifying: each algorithm, each rule of a policy, and whatever else arrives."""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from shared.http_signatures import ALGORITHMS, Policy, SignatureRefused, SignedRequest, Signer, content_digest, verify
from shared.http_signatures.structured_fields import parse_dictionary, serialize
from shared.webhooks import Incoming, MessageSignatures, NotGenuine, WebhookSource
from tests.scale import SCALE

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
REQUEST = SignedRequest(
    "POST",
    "https://shop.example/api/webhooks/erp?a=1",
    {"content-type": "application/json", "host": "shop.example"},
    '{"id": "7", "text": "Grüße"}'.encode(),
)
SHARED = base64.b64encode(b"an example secret of 32 bytes...").decode()
TAMPERED = int(10_000 * SCALE)


def pair(private: Any) -> tuple[str, str]:
    """Private and public key in PEM."""
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return secret, private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture(scope="module")
def keys() -> dict[str, tuple[str, str]]:
    """A pair for each algorithm."""
    of_rsa = pair(rsa.generate_private_key(65_537, 2_048))
    return {
        "ed25519": pair(ed25519.Ed25519PrivateKey.generate()),
        "ecdsa-p256-sha256": pair(ec.generate_private_key(ec.SECP256R1())),
        "ecdsa-p384-sha384": pair(ec.generate_private_key(ec.SECP384R1())),
        "rsa-pss-sha512": of_rsa,
        "rsa-v1_5-sha256": of_rsa,
        "hmac-sha256": (SHARED, SHARED),
    }


def signed(signer: Signer, secret: str, request: SignedRequest = REQUEST, *, nonce: str = "") -> SignedRequest:
    """A request with its signature."""
    headers = signer.sign(request, secret, now=NOW, nonce=nonce)
    return replace(request, headers={**request.headers, **{name.lower(): value for name, value in headers.items()}})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_signs_what_its_key_verifies(algorithm: str, keys: dict[str, tuple[str, str]]) -> None:
    """Beside a key that comes or goes; under another key or algorithm it counts for nothing."""
    private, public = keys[algorithm]
    request = signed(Signer(algorithm=algorithm, key_id="k", expires=60), private)
    policy = Policy(algorithm=algorithm, key_id="k")
    assert verify(request, [public], policy, now=NOW) == "sig1"
    other = Policy(algorithm="hmac-sha256" if algorithm != "hmac-sha256" else "ed25519")
    with pytest.raises(SignatureRefused):
        verify(request, [SHARED if other.algorithm == "hmac-sha256" else keys["ed25519"][1]], other, now=NOW)


@pytest.mark.parametrize("algorithm", [one for one in ALGORITHMS if one != "hmac-sha256"])
def test_a_key_of_another_kind_is_none(algorithm: str, keys: dict[str, tuple[str, str]]) -> None:
    """A public key doesn't become a shared secret, nor a curve another; the text doesn't say what the secret is."""
    wrong = keys["ed25519" if algorithm != "ed25519" else "ecdsa-p256-sha256"]
    request = signed(Signer(algorithm=algorithm), keys[algorithm][0])
    for secret in (wrong[1], "", "x", SHARED[:-4]):
        with pytest.raises(ValueError, match="key") as unfit:
            verify(request, [secret], Policy(algorithm=algorithm), now=NOW)
        assert not secret or secret not in str(unfit.value)
    with pytest.raises(ValueError, match="key"):
        Signer(algorithm=algorithm).sign(REQUEST, wrong[0], now=NOW)


def test_a_short_rsa_key_is_refused() -> None:
    private, _ = pair(rsa.generate_private_key(65_537, 1_024))
    with pytest.raises(ValueError, match="short"):
        Signer(algorithm="rsa-pss-sha512").sign(REQUEST, private, now=NOW)


def refused(request: SignedRequest, policy: Policy, *, now: datetime = NOW) -> str:
    """Why a signature with the shared key doesn't count."""
    with pytest.raises(SignatureRefused) as found:
        verify(request, [SHARED], replace(policy, algorithm="hmac-sha256"), now=now)
    return str(found.value)


HMAC = Signer(algorithm="hmac-sha256")


def test_the_rules_of_a_policy() -> None:
    """Time, expiry, nonce, tag, key, covered components."""
    plain, policy = signed(HMAC, SHARED), Policy()
    assert "ago" in refused(plain, policy, now=NOW + timedelta(seconds=301))
    assert "ago" in refused(plain, policy, now=NOW - timedelta(seconds=301))
    short = signed(replace(HMAC, expires=10), SHARED)
    assert "expired" in refused(short, policy, now=NOW + timedelta(seconds=11))
    assert "nonce" in refused(plain, replace(policy, nonce=True))
    verify(signed(HMAC, SHARED, nonce="n"), [SHARED], Policy(algorithm="hmac-sha256", nonce=True), now=NOW)
    assert "tag" in refused(plain, replace(policy, tag="orders"))
    verify(
        signed(replace(HMAC, tag="orders"), SHARED), [SHARED], Policy(algorithm="hmac-sha256", tag="orders"), now=NOW
    )
    assert "another key" in refused(plain, replace(policy, key_id="k"))
    assert "cover" in refused(plain, replace(policy, required=("content-digest", "content-type")))
    assert "another algorithm" in refused(
        replace(
            plain, headers={**plain.headers, "signature-input": plain.headers["signature-input"].replace("hmac-", "x")}
        ),
        policy,
    )


def test_a_body_that_was_changed_is_refused_whatever_its_digest_says() -> None:
    request = signed(HMAC, SHARED)
    assert "isn't the body's" in refused(replace(request, body=b"{}"), Policy())
    own = {**request.headers, "content-digest": content_digest(b"{}")}
    assert "no key" in refused(replace(request, body=b"{}", headers=own), Policy())
    both = f"{content_digest(REQUEST.body, 'sha-512')}, {content_digest(REQUEST.body)}"
    assert "no key" in refused(replace(request, headers={**request.headers, "content-digest": both}), Policy())


def test_one_of_several_signatures_is_enough() -> None:
    """A proxy's own stands beside it; more than anybody makes are refused unread."""
    one, other = signed(HMAC, SHARED), signed(replace(HMAC, label="proxy"), base64.b64encode(b"other").decode())
    headers = {
        **one.headers,
        **{name: f"{other.headers[name]}, {one.headers[name]}" for name in ("signature", "signature-input")},
    }
    assert verify(replace(one, headers=headers), [SHARED], Policy(algorithm="hmac-sha256"), now=NOW) == "sig1"
    many = {
        name: ", ".join(one.headers[name].replace("sig1", f"sig{number}") for number in range(9))
        for name in ("signature", "signature-input")
    }
    assert "too many" in refused(replace(one, headers={**one.headers, **many}), Policy())


@pytest.mark.parametrize(
    "given",
    [
        "",
        "sig1",
        "sig1=1",
        "sig1=()",
        "sig1=();created=1.5",
        'sig1=();created="1764504000"',
        'sig1=("@method" "@method");created=1764504000',
        'sig1=("@METHOD");created=1764504000',
        'sig1=("@status");created=1764504000',
        'sig1=("@method";req);created=1764504000',
        'sig1=("content-type";bs);created=1764504000',
        'sig1=("content-type";tr);created=1764504000',
        'sig1=("missing");created=1764504000',
        'sig1=("@query-param");created=1764504000',
        'sig1=("@query-param";name="b");created=1764504000',
        "sig1=(1);created=1764504000",
        "sig1=();created=1764504000;unknown=1",
        "sig1=(((((((((",
        "sig1=();created=99999999999999999999",
        "sig1=(), sig1=()",
        "sig1=()" + ";a" * 100,
        "x" * 20_000,
        "sïg1=()",
    ],
)
def test_an_input_that_says_something_else_is_refused(given: str) -> None:
    request = signed(HMAC, SHARED)
    refused(replace(request, headers={**request.headers, "signature-input": given}), Policy())


@pytest.mark.parametrize("url", ["http://[", "http://a:b/", "http://[::1/", "//"])
@pytest.mark.parametrize("name", ["@target-uri", "@authority", "@path", '"@query-param";name="a"'])
def test_an_address_that_is_none_is_refused(url: str, name: str) -> None:
    """Whoever sends may say any host."""
    signer = replace(HMAC, covered=("content-digest",))
    request = replace(signed(signer, SHARED), url=url)
    base = request.headers["signature-input"].replace('("content-digest")', f'("content-digest" {_quoted(name)})')
    refused(
        replace(request, headers={**request.headers, "signature-input": base}), Policy(required=("content-digest",))
    )


def _quoted(name: str) -> str:
    return name if name.startswith('"') else f'"{name}"'


def test_a_policy_without_the_body_is_none() -> None:
    with pytest.raises(ValueError, match="content-digest"):
        Policy(required=("@method",))
    with pytest.raises(ValueError, match="content-digest"):
        Signer(covered=("@method",))
    with pytest.raises(ValueError, match="content-digest"):
        MessageSignatures(required=("@method",))
    for made in (Policy, Signer):
        with pytest.raises(ValueError, match="rot13"):
            made(algorithm="rot13")


ALTERED = ("method", "url", "body", "content-digest", "signature", "signature-input")


def test_none_of_ten_thousand_tampered_requests_is_genuine(keys: dict[str, tuple[str, str]]) -> None:
    """One character of anything that is signed, or of the signature, under Ed25519."""
    private, public = keys["ed25519"]
    scheme, genuine, chance = MessageSignatures(), signed(Signer(), private), random.Random(9421)
    incoming = Incoming(genuine.method, genuine.url, genuine.headers, genuine.body)
    scheme.verify(incoming, [public], now=NOW)
    for number in range(TAMPERED):
        what = ALTERED[number % len(ALTERED)]
        tampered = _altered(incoming, what, chance)
        with pytest.raises(NotGenuine):
            scheme.verify(tampered, [public], now=NOW)


def _altered(incoming: Incoming, what: str, chance: random.Random) -> Incoming:
    def other(text: str) -> str:
        spare = 4 if what == "signature" else 0  # the last character of Base64 has bits that say nothing
        at = chance.randrange(len(text) - spare)
        return text[:at] + chance.choice([one for one in "abcXYZ019" if one != text[at]]) + text[at + 1 :]

    if what == "method":
        return replace(incoming, method=other(incoming.method))
    if what == "url":
        return replace(incoming, url=other(incoming.url))
    if what == "body":
        return replace(incoming, body=other(incoming.body.decode("latin-1")).encode("latin-1"))
    return replace(incoming, headers={**incoming.headers, what: other(incoming.headers[what])})


def test_the_preset_takes_a_public_key_of_the_vault(keys: dict[str, tuple[str, str]]) -> None:
    """By type and id of the body, as CloudEvents and most others have them."""
    source = WebhookSource.preset("http-signatures")
    request = signed(Signer(), keys["ed25519"][0])
    incoming = Incoming(request.method, request.url, request.headers, request.body)
    source.scheme.verify(incoming, [keys["ed25519"][1]], now=NOW)
    (notice,) = source.scheme.notices(incoming, {"id": "7", "type": "order"})
    assert (notice.topic, notice.delivery) == ("order", "7")


@given(st.text(max_size=80))
def test_any_text_is_a_dictionary_or_refused(text: str) -> None:
    """What is read is written in the one way that there is, which reads the same."""
    try:
        found = parse_dictionary(text)
    except SignatureRefused:
        return
    again = ", ".join(f"{name}={serialize(member)}" for name, member in found.items())
    assert parse_dictionary(again) == found
