"""Documented examples of the senders, and requests that nobody should believe."""

from __future__ import annotations

import base64
import hmac
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from shared.webhooks import (
    PRESETS,
    CloudEvents,
    Discord,
    EventGrid,
    Field,
    GitHub,
    Header,
    Hmac,
    Incoming,
    NotGenuine,
    PayPal,
    Reply,
    SharedKey,
    Slack,
    StandardWebhooks,
    Stripe,
    Twilio,
    WebhookSource,
    Zoom,
)

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SECONDS = str(int(NOW.timestamp()))
SECRET = "an example secret"


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_the_example_of_standard_webhooks() -> None:
    """Of its specification's reference libraries."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    request = Incoming("POST", "/", headers, b'{"test": 2432232314}')
    StandardWebhooks().verify(request, ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], now=at(1614265330))


def test_the_example_of_github() -> None:
    """https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation."""
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    request = Incoming("POST", "/", {"x-hub-signature-256": signature}, b"Hello, World!")
    GitHub().verify(request, ["It's a Secret to Everybody"], now=NOW)


def test_the_example_of_slack() -> None:
    """https://docs.slack.dev/authentication/verifying-requests-from-slack."""
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    request = Incoming("POST", "/", headers, body)
    Slack().verify(request, ["8f742231b10e8888abcd99yyyzzz85a5"], now=at(1531420618))


def signed(scheme: Hmac, body: bytes, headers: dict[str, str] | None = None, url: str = "/") -> Incoming:
    """A request with a signature under SECRET, by the scheme's own words."""
    request = Incoming("POST", url, headers or {}, body)
    made = hmac.digest(scheme.key_of(SECRET), scheme.content(request), scheme.algorithm)
    text = made.hex() if scheme.encoding == "hex" else base64.b64encode(made).decode()
    return replace(request, headers={**request.headers, scheme.header: scheme.prefix + text})


def refuses(scheme: Any, request: Incoming, secrets: Sequence[str] = (SECRET,), now: datetime = NOW) -> str:
    with pytest.raises(NotGenuine) as refused:
        scheme.verify(request, list(secrets), now=now)
    return str(refused.value)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (None, "missing"),
        ("", "missing"),
        ("x" * 8_193, "too long"),
        ("not hexadecimal", "no secret"),
        ("sha256=", "no secret"),
        ("sha256=" + "00" * 31, "no secret"),
        ("sha256=" + "00" * 33, "no secret"),
        ("sha1=" + "00" * 32, "no secret"),
        ("sha256=é", "no secret"),
    ],
)
def test_a_signature_that_is_none(header: str | None, why: str) -> None:
    headers = {} if header is None else {"x-hub-signature-256": header}
    assert why in refuses(GitHub(), Incoming("POST", "/", headers, b"{}"))


@pytest.mark.parametrize("off", [-301, 301, -86_400])
def test_a_time_that_is_too_far_off(off: int) -> None:
    stamp = str(int(SECONDS) + off)
    assert "too long ago" in refuses(Slack(), signed(Slack(), b"{}", {"x-slack-request-timestamp": stamp}))


@pytest.mark.parametrize("stamp", ["", "-1", "1e9", "٣", " 1", "9" * 14, "1614265330.5"])
def test_a_time_that_is_none(stamp: str) -> None:
    """Python's own `int` takes some of them."""
    refuses(Slack(), signed(Slack(), b"{}", {"x-slack-request-timestamp": stamp or "x"}))
    refuses(Stripe(), Incoming("POST", "/", {"stripe-signature": f"t={stamp},v1={'0' * 64}"}, b"{}"))


def test_only_so_many_signatures_are_compared() -> None:
    """A header of thousands costs nothing."""
    scheme = StandardWebhooks()
    secret = "whsec_" + base64.b64encode(b"x" * 24).decode()
    headers = {"webhook-id": "msg", "webhook-timestamp": SECONDS}
    request = Incoming("POST", "/", headers, b"{}")
    right = "v1," + base64.b64encode(hmac.digest(b"x" * 24, scheme.content(request), "sha256")).decode()
    wrong = "v1," + base64.b64encode(bytes(32)).decode()

    def presents(*signatures: str) -> Incoming:
        return replace(request, headers={**headers, "webhook-signature": " ".join(signatures)})

    scheme.verify(presents("v2,unknown", "v1a,whatever", *[wrong] * 7, right), [secret], now=NOW)
    refuses(scheme, presents(*[wrong] * 8, right), [secret])
    refuses(scheme, presents("v1," + right.removeprefix("v1,") + "AAAA"), [secret])
    scheme.verify(presents(right), ["whsec_" + base64.b64encode(b"y" * 24).decode()] * 7 + [secret], now=NOW)


def test_public_keys_of_standard_webhooks() -> None:
    """`v1a`, beside a shared secret that has signed nothing."""
    private = Ed25519PrivateKey.generate()
    scheme, headers = StandardWebhooks(), {"webhook-id": "msg", "webhook-timestamp": SECONDS}
    request = Incoming("POST", "/", headers, b"{}")
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    public = "whpk_" + base64.b64encode(raw).decode()
    signature = "v1a," + base64.b64encode(private.sign(scheme.content(request))).decode()
    genuine = replace(request, headers={**headers, "webhook-signature": signature})
    scheme.verify(genuine, [public], now=NOW)
    refuses(scheme, replace(genuine, body=b"[]"), [public])
    refuses(scheme, genuine, ["whsec_" + base64.b64encode(b"x" * 24).decode()])


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!", "whpk_AAAA"])
def test_a_secret_that_is_none_is_a_fault_of_ours(secret: str) -> None:
    """Nobody's request is refused for it, and the error doesn't name it."""
    headers = {"webhook-id": "m", "webhook-timestamp": SECONDS, "webhook-signature": "v1,AAAA v1a,AAAA"}
    with pytest.raises(ValueError, match=r"^a (secret|public key) is"):
        StandardWebhooks().verify(Incoming("POST", "/", headers, b"{}"), [secret], now=NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"header": "X-Signature"},
        {"header": ""},
        {"header": "x-signature", "signed": "{method}"},
        {"header": "x-signature", "timestamp": "x-time"},
    ],
)
def test_a_scheme_that_proves_nothing_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"signed|lower case"):
        Hmac(**wrong)  # type: ignore[arg-type]


def test_what_a_request_is_about() -> None:
    """Header or body, one level or more; a list is several."""
    scheme = Hmac(header="x-s", topic=Field("event.kind"), delivery=Header("X-Id"))
    request = Incoming("POST", "/", {"x-id": "7"}, b'{"event": {"kind": "made"}}')
    (notice,) = scheme.notices(request, {"event": {"kind": "made"}})
    assert (notice.topic, notice.delivery, notice.raw) == ("made", "7", request.body)
    several = scheme.notices(request, [{"event": {"kind": "a"}}, {"event": "x"}, 3, {}])
    assert [one.topic for one in several] == ["a", "", ""]
    assert all(one.raw is None for one in several)
    assert scheme.notices(request, "text") == []


def test_handshakes() -> None:
    """Each in its sender's words."""
    slack = Slack().handshake(Incoming("POST", "/", {}, b""), {"type": "url_verification", "challenge": "c"}, [SECRET])
    assert slack is not None
    assert json.loads(slack.body) == {"challenge": "c"}
    asked = {"event": "endpoint.url_validation", "payload": {"plainToken": "t"}}
    request = signed(Zoom(), json.dumps(asked).encode(), {"x-zm-request-timestamp": SECONDS})
    zoom = Zoom().handshake(request, asked, ["the next secret", SECRET])
    assert zoom is not None
    expected = hmac.digest(SECRET.encode(), b"t", "sha256").hex()
    assert json.loads(zoom.body) == {"plainToken": "t", "encryptedToken": expected}
    assert GitHub().handshake(Incoming("POST", "/", {"x-github-event": "ping"}, b""), {}, [SECRET]) == Reply()
    assert GitHub().handshake(Incoming("POST", "/", {"x-github-event": "push"}, b""), {}, [SECRET]) is None
    ping = Discord().handshake(Incoming("POST", "/", {}, b""), {"type": 1}, [])
    assert ping is not None
    assert json.loads(ping.body) == {"type": 1}
    assert Discord().handshake(Incoming("POST", "/", {}, b""), {"type": 1, "event": {}}, []) is None
    assert Discord().handshake(Incoming("POST", "/", {}, b""), {"type": 0}, []) == Reply()


def test_event_grid() -> None:
    """Its key, its handshake, its own schema and CloudEvents."""
    scheme = EventGrid()
    request = Incoming("POST", "/?key=k", {"aeg-event-type": "SubscriptionValidation"}, b"[]", {"key": "k"})
    scheme.verify(request, ["k"], now=NOW)
    scheme.verify(replace(request, query={}, headers={"x-webhook-key": "k"}), ["other", "k"], now=NOW)
    refuses(scheme, request, ["other"])
    refuses(scheme, replace(request, query={}), ["k"])
    code = [{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "512d38b6"}}]
    answer = scheme.handshake(request, code, ["k"])
    assert answer is not None
    assert (answer.status, json.loads(answer.body)) == (200, {"validationResponse": "512d38b6"})
    assert scheme.handshake(request, [], ["k"]) == Reply(400)
    plain = Incoming("POST", "/", {}, b"[]")
    own, cloud = scheme.notices(
        plain,
        [
            {"id": "1", "eventType": "Microsoft.Storage.BlobCreated", "subject": "s", "data": {}},
            {"specversion": "1.0", "id": "2", "source": "/shop", "type": "order.placed", "data": {}},
        ],
    )
    assert (own.topic, own.delivery) == ("Microsoft.Storage.BlobCreated", "1")
    assert (cloud.topic, cloud.delivery) == ("order.placed", "/shop 2")


def test_cloud_events_by_http() -> None:
    """Consent by OPTIONS (HTTP 1.1 Web Hooks for Event Delivery, 4.1), and the binary mode."""
    scheme = CloudEvents(origins=("eventgrid.azure.net",))
    asks = Incoming(
        "OPTIONS", "/", {"webhook-request-origin": "eventgrid.azure.net", "webhook-request-rate": "120"}, b""
    )
    answer = scheme.handshake(asks, None, [])
    assert answer is not None
    assert answer.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
    assert answer.headers["WebHook-Allowed-Rate"] == "*"
    assert answer.headers["Allow"] == "POST, OPTIONS"
    assert scheme.handshake(replace(asks, headers={"webhook-request-origin": "elsewhere"}), None, []) == Reply(403)
    assert scheme.handshake(replace(asks, headers={}), None, []) == Reply(403)
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/shop", "ce-type": "order.placed"}
    (notice,) = scheme.notices(Incoming("POST", "/", headers, b'{"a": 1}'), {"a": 1})
    assert (notice.topic, notice.delivery, notice.raw) == ("order.placed", "/shop 1", None)
    assert notice.content == {
        "specversion": "1.0",
        "id": "1",
        "source": "/shop",
        "type": "order.placed",
        "data": {"a": 1},
    }


def test_an_empty_key_lets_nobody_in() -> None:
    with pytest.raises(ValueError, match="empty"):
        SharedKey().verify(Incoming("POST", "/", {}, b""), [""], now=NOW)


class Authority:
    """A certificate authority, and what it signs."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.certificate = self.issue("authority", self.key, is_authority=True)

    def issue(
        self,
        name: str,
        key: rsa.RSAPrivateKey,
        *,
        is_authority: bool = False,
        until: datetime = NOW + timedelta(days=90),
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=300))
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if is_authority:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        else:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return builder.sign(self.key, SHA256())


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def paypal(authority: Authority, host: str = "messageverificationcerts.paypal.com") -> tuple[PayPal, Incoming, bytes]:
    """A scheme, a request with an id of `WH-1`, and the certificate that it names."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    body = b'{"id": "WH-E-1", "event_type": "PAYMENT.CAPTURE.COMPLETED"}'
    text = f"t-1|2026-11-30T11:59:58Z|WH-1|{zlib.crc32(body)}"
    headers = {
        "paypal-transmission-id": "t-1",
        "paypal-transmission-time": "2026-11-30T11:59:58Z",
        "paypal-transmission-sig": base64.b64encode(key.sign(text.encode(), padding.PKCS1v15(), SHA256())).decode(),
        "paypal-cert-url": "https://api.paypal.com/v1/notifications/certs/CERT-1",
        "paypal-auth-algo": "SHA256withRSA",
    }
    pem = authority.issue(host, key).public_bytes(Encoding.PEM)
    return PayPal(anchors=lambda: [authority.certificate]), Incoming("POST", "/", headers, body), pem


def test_paypal(authority: Authority) -> None:
    scheme, request, pem = paypal(authority)
    assert scheme.fetches(request) == "https://api.paypal.com/v1/notifications/certs/CERT-1"
    scheme.verify(request, ["WH-0", "WH-1"], now=NOW, fetched=pem)
    for secrets, changed, certificate in (
        (["WH-2"], request, pem),
        (["WH-1"], replace(request, body=request.body + b" "), pem),
        (["WH-1"], request, b""),
        (["WH-1"], request, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        (["WH-1"], request, paypal(authority)[2]),
        (["WH-1"], request, paypal(Authority())[2]),
        (["WH-1"], replace(request, headers={**request.headers, "paypal-auth-algo": "none"}), pem),
        (["WH-1"], replace(request, headers={**request.headers, "paypal-transmission-time": "yesterday"}), pem),
        (["WH-1"], replace(request, headers={**request.headers, "paypal-transmission-sig": "!"}), pem),
    ):
        with pytest.raises(NotGenuine):
            scheme.verify(changed, secrets, now=NOW, fetched=certificate)
    with pytest.raises(NotGenuine, match="ago"):
        scheme.verify(request, ["WH-1"], now=NOW + timedelta(days=4), fetched=pem)


def test_a_certificate_that_isnt_paypals(authority: Authority) -> None:
    """Another name under the same authority."""
    scheme, request, pem = paypal(authority, "www.example.org")
    with pytest.raises(NotGenuine, match="isn't PayPal's"):
        scheme.verify(request, ["WH-1"], now=NOW, fetched=pem)


@pytest.mark.parametrize(
    "address",
    [
        "http://api.paypal.com/cert",
        "https://paypal.com.example.org/cert",
        "https://examplepaypal.com/cert",
        "https://api.paypal.com@example.org/cert",
        "https://user@api.paypal.com/cert",
        "https://api.paypal.com:8443/cert",
        "https://127.0.0.1/cert",
        "file:///etc/passwd",
        "//api.paypal.com/cert",
        "https://[",
        "x",
    ],
)
def test_a_certificate_somewhere_else_is_not_fetched(address: str) -> None:
    with pytest.raises(NotGenuine):
        PayPal().fetches(Incoming("POST", "/", {"paypal-cert-url": address}, b""))


@given(
    name=st.sampled_from(sorted(set(PRESETS) - {"paypal"})),
    headers=st.dictionaries(
        st.sampled_from([
            "x-hub-signature-256", "stripe-signature", "webhook-signature", "webhook-timestamp", "webhook-id",
            "svix-id", "svix-signature", "svix-timestamp", "x-slack-signature", "x-slack-request-timestamp",
            "x-twilio-signature",
            "x-signature-ed25519", "x-signature-timestamp", "x-hubspot-signature-v3", "x-hubspot-request-timestamp",
            "x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp", "x-zm-signature",
            "x-zm-request-timestamp", "x-shopify-hmac-sha256", "x-webhook-key",
        ]),
        st.one_of(st.text(max_size=40), st.just(SECONDS), st.just(f"t={SECONDS},v1=00"), st.just("v0=00")),
    ),
    body=st.binary(max_size=40),
)  # fmt: skip
def test_nothing_but_refusals_comes_of_what_was_made_up(name: str, headers: dict[str, str], body: bytes) -> None:
    """No other exception, whatever stands in headers."""
    keys = {
        "sendgrid": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYP7UuiVanTHJYet0xjVtaMBJuJI7YfpsxmliLmDyn7Z5A/4QCLi8maQa6elWK"
        "Ljy8fGyDC1+nlF3o8KU1EYimQ==",
        "discord": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    }
    secret = keys.get(name, "whsec_" + base64.b64encode(b"x" * 24).decode())
    with pytest.raises(NotGenuine):
        PRESETS[name]().verify(Incoming("POST", "https://a/b", headers, body), [secret], now=NOW)


@pytest.mark.parametrize("name", ["", "Shop", "a" * 33, "1shop", "shop/eu", "shöp"])
def test_a_source_with_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="webhook source"):
        WebhookSource(name=name, scheme=GitHub(), secrets=("a",))


def test_a_sender_that_isnt_known_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'acme' isn't known: declare it with `receives`, or use .*stripe"):
        WebhookSource.preset("acme")


@pytest.mark.parametrize("named", ["é", "", "0" * 64, "\ud800"])
def test_the_hash_in_twilios_address_is_any_text(named: str) -> None:
    request = Incoming("POST", "https://a/b", {"x-twilio-signature": "AAAA"}, b"{}", {"bodySHA256": named})
    assert "isn't the one" in refuses(Twilio(), request)
