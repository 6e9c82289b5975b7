"""Signs webhooks by Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`, one signature for each secret."""

import base64
import hmac
from collections.abc import Callable, Sequence
from datetime import datetime

from shared.telemetry import hide

__all__ = ["new_secret", "signed_headers"]

PREFIX = "whsec_"
_BYTES = 32


def new_secret(random_bytes: Callable[[int], bytes]) -> str:
    """A secret as it is shown to the subscriber, once."""
    secret = PREFIX + base64.b64encode(random_bytes(_BYTES)).decode()
    hide(secret)
    return secret


def signed_headers(identity: str, body: bytes, secrets: Sequence[str], *, now: datetime) -> dict[str, str]:
    """The three headers; `identity` has no dot in it, and is the same each time the same event is sent.

    Example
    -------
    >>> from datetime import UTC
    >>> at = datetime.fromtimestamp(1614265330, UTC)
    >>> body = b'{"test": 2432232314}'
    >>> secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    >>> signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", body, [secret], now=at)["webhook-signature"]
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    timestamp = str(int(now.timestamp()))
    signed = f"{identity}.{timestamp}.".encode() + body
    digests = (hmac.digest(base64.b64decode(one.removeprefix(PREFIX)), signed, "sha256") for one in secrets)
    return {
        "webhook-id": identity,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(one).decode()}" for one in digests),
    }
