"""What the senders' own libraries sign is genuine, and nothing else is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import standardwebhooks

from shared.subscriptions import signed_headers
from shared.webhooks import (
    Discord,
    GitHub,
    HubSpot,
    Incoming,
    NotGenuine,
    Scheme,
    SendGrid,
    Shopify,
    StandardWebhooks,
    Stripe,
    Twilio,
)
from tests.npm import installed
from tests.scale import SCALE

SIGNERS = Path(__file__).parent / "signers"
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
URL = "https://shop.example/api/webhooks/partner?a=1"
BODY = json.dumps({"id": 7, "type": "order.created", "text": "Grüße, €3.50 'now'"}, ensure_ascii=False)
FORM = {"MessageSid": "SM1", "Body": "häh & so", "From": "+15005550006"}
SHARED = "an example secret"
ENCODED = "whsec_" + base64.b64encode(b"an example secret of 32 bytes...").decode()
TAMPERED = int(10_000 * SCALE)

Ask = Callable[[list[tuple[str, list[Any]]]], list[Any]]
Genuine = tuple[Scheme, Incoming, str]


@pytest.fixture(scope="module")
def ask(project: Path) -> Ask:
    """Asks the senders' own libraries; skipped where there is no Node, but for CI."""
    node, folder = installed(project, SIGNERS, "webhook-signers")

    def asked(questions: list[tuple[str, list[Any]]]) -> list[Any]:
        done = subprocess.run(
            [node, str(SIGNERS / "signers.mjs"), str(folder)],
            input=json.dumps(questions),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-1_000:]
        found = json.loads(done.stdout.rpartition("\n")[2])
        assert isinstance(found, list)
        return found

    return asked


@pytest.fixture(scope="module")
def genuine(ask: Ask) -> dict[str, Genuine]:
    """A request of each sender, signed by its own library, with the secret that it is verified with."""
    json_url = f"{URL}&bodySHA256={hashlib.sha256(BODY.encode()).hexdigest()}"
    answers = ask(
        [
            ("standard", [ENCODED, "msg_1234567", SECONDS, BODY]),
            ("svix", [ENCODED, "msg_1234567", SECONDS, BODY]),
            ("stripe", [SHARED, SECONDS, BODY]),
            ("github", [SHARED, BODY]),
            ("hubspot", [SHARED, URL, BODY, SECONDS * 1_000]),
            ("twilio", [SHARED, URL, FORM]),
            ("twilio", [SHARED, json_url, {}]),
            ("twilio hashes", [BODY]),
            ("sendgrid", [SECONDS, BODY]),
            ("discord", [SECONDS, BODY]),
        ]
    )
    standard, svix, stripe, github, hubspot, form, by_hash, body_hash, sendgrid, discord = answers
    assert body_hash in json_url
    assert sendgrid["agreed"] is True
    assert discord["agreed"] is True
    shopify = base64.b64encode(hmac.digest(SHARED.encode(), BODY.encode(), "sha256")).decode()

    def request(
        url: str = URL, body: bytes = BODY.encode(), query: dict[str, str] | None = None, **headers: str
    ) -> Incoming:
        return Incoming(
            "POST", url, {name.replace("_", "-"): value for name, value in headers.items()}, body, query or {}
        )

    mail = "x_twilio_email_event_webhook_"
    return {
        "standard": (
            StandardWebhooks(),
            request(webhook_id="msg_1234567", webhook_timestamp=str(SECONDS), webhook_signature=standard),
            ENCODED,
        ),
        "svix": (
            StandardWebhooks.svix(),
            request(svix_id="msg_1234567", svix_timestamp=str(SECONDS), svix_signature=svix),
            ENCODED,
        ),
        "stripe": (Stripe(), request(stripe_signature=stripe), SHARED),
        "github": (GitHub(), request(x_hub_signature_256=github), SHARED),
        "hubspot": (
            HubSpot(),
            request(x_hubspot_signature_v3=hubspot, x_hubspot_request_timestamp=str(SECONDS * 1_000)),
            SHARED,
        ),
        "twilio": (Twilio(), request(body=urlencode(FORM).encode(), x_twilio_signature=form), SHARED),
        "twilio-json": (
            Twilio(),
            request(json_url, query={"a": "1", "bodySHA256": body_hash}, x_twilio_signature=by_hash),
            SHARED,
        ),
        "sendgrid": (
            SendGrid(),
            request(**{mail + "signature": sendgrid["signature"], mail + "timestamp": str(SECONDS)}),
            sendgrid["key"],
        ),
        "discord": (
            Discord(),
            request(x_signature_ed25519=discord["signature"], x_signature_timestamp=str(SECONDS)),
            discord["key"],
        ),
        "shopify": (Shopify(), request(x_shopify_hmac_sha256=shopify), SHARED),
    }


SENDERS = ["standard", "svix", "stripe", "github", "hubspot", "twilio", "twilio-json", "sendgrid", "discord", "shopify"]


@pytest.mark.parametrize("sender", SENDERS)
def test_what_a_sender_has_signed_is_genuine(genuine: dict[str, Genuine], sender: str) -> None:
    """Under its secret alone, and beside one that comes or goes."""
    scheme, request, secret = genuine[sender]
    scheme.verify(request, [secret], now=NOW)
    other = genuine["sendgrid"][2] if sender == "sendgrid" else "00" * 32 if sender == "discord" else ENCODED[:-8]
    scheme.verify(request, [other, secret], now=NOW)
    with pytest.raises(NotGenuine):
        scheme.verify(request, [SHARED[::-1] if secret == SHARED else _other(secret)], now=NOW)


def _other(secret: str) -> str:
    if secret.startswith("whsec_"):
        return "whsec_" + base64.b64encode(b"another secret of 32 bytes......").decode()
    if len(secret) == 64:
        return "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    # The public key of RFC 6979, A.2.5.
    point = (
        "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
        "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
    )
    return base64.b64encode(bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200" + point)).decode()


def test_the_senders_own_libraries_take_what_is_signed_here(ask: Ask, genuine: dict[str, Genuine]) -> None:
    """Two of them only verify, or do that too."""
    shopify, github = genuine["shopify"][1], genuine["github"][1]
    known = {"topic": "orders/create", "shop-domain": "a.myshopify.com", "api-version": "2026-01", "webhook-id": "1"}
    headers = {**shopify.headers, **{f"x-shopify-{name}": value for name, value in known.items()}}
    wrong = {**headers, "x-shopify-hmac-sha256": base64.b64encode(bytes(32)).decode()}
    assert ask(
        [
            ("shopify verifies", [SHARED, BODY, headers]),
            ("shopify verifies", [SHARED, BODY, wrong]),
            ("github verifies", [SHARED, BODY, github.headers["x-hub-signature-256"]]),
        ]
    ) == [True, False, True]


def test_what_was_tampered_with_is_refused(genuine: dict[str, Genuine]) -> None:
    """Bytes of the body, of the signature, the time, the address: whatever is signed."""
    chance = random.Random(20)
    for number in range(TAMPERED):
        scheme, request, secret = genuine[SENDERS[number % len(SENDERS)]]
        changed = next(one for one in _changed(request, chance) if one != request)
        with pytest.raises(NotGenuine):
            scheme.verify(changed, [secret], now=NOW)


def _changed(request: Incoming, chance: random.Random) -> Iterator[Incoming]:
    """Endlessly, requests with one thing changed that counts."""
    while True:
        match chance.choice(["body", "header", "longer", "shorter"]):
            case "body":
                at = chance.randrange(len(request.body))
                # A form's `+` and `%20` are the same blank: a letter in its place is not.
                body = request.body[:at] + chance.choice(b"QZXJ").to_bytes() + request.body[at + 1 :]
                yield replace(request, body=body)
            case "longer":
                yield replace(request, body=request.body + b"x")
            case "shorter":
                yield replace(request, body=request.body[: chance.randrange(len(request.body))])
            case _:
                name = chance.choice(sorted(request.headers))
                value = request.headers[name]
                kept = value.removeprefix("v1,").removeprefix("sha256=")
                at = chance.randrange(
                    len(value) - len(kept), len(value) - 6
                )  # the last of base64 may count for nothing
                digit = chance.choice("0123456789abcdef".replace(value[at].lower(), ""))
                yield replace(request, headers={**request.headers, name: value[:at] + digit + value[at + 1 :]})


def test_what_we_sign_is_what_the_foreign_libraries_sign(ask: Ask) -> None:
    """Standard Webhooks' own in Python and JavaScript, and Svix's, with two secrets; a changed body is refused."""
    other = "whsec_" + base64.b64encode(b"another secret of 32 bytes......").decode()
    now = datetime.now(UTC)
    headers = signed_headers("msg_1234567", BODY.encode(), [ENCODED, other], now=now)
    ours = headers["webhook-signature"].split()
    questions = [
        (name, [secret, "msg_1234567", int(now.timestamp()), BODY])
        for name in ("standard", "svix")
        for secret in (ENCODED, other)
    ]
    assert ask(questions) == [*ours, *ours]
    for secret in (ENCODED, other):
        standardwebhooks.Webhook(secret).verify(BODY, headers)
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            standardwebhooks.Webhook(secret).verify(BODY + " ", headers)
