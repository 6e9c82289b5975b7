"""The webhooks of the simulated partner, signed as real senders do.

A script's `"webhooks"` are a list; each says of what is made in a collection:

- `on`: the collection, for example `labels`. `after`: seconds after it was made, a number or `[least, most]`.
- `set`: fields that change then; `updatedAt` is set too, so that who polls finds it.
- `type`: what the webhook is about. Its body is `{"type": ..., "timestamp": ..., "data": the thing}`.
- `to`: a URL, or a path beneath the address of the app that is notified.
- `secret`, and `scheme`: `standard` (Standard Webhooks, `whsec_…`), or `hex` (HMAC-SHA256 over `{x-timestamp}.{body}`
  in `X-Signature`, and `X-Delivery` with the id).
- `chance`: the share that is sent; of the others only the change happens.

A webhook that isn't answered with 2xx is sent again, under the same id, for some minutes.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Self
from uuid import uuid4

import aiohttp

from local_azure.partner.book import Book
from local_azure.partner.script import WrongScript

__all__ = ["Webhook", "WebhookSender", "signed", "webhooks_of"]

_KNOWN: Final = frozenset({"on", "after", "set", "type", "to", "secret", "scheme", "chance"})
_PAUSES: Final = (0.2, 0.5, 1.0, 2.0, *[5.0] * 60)
_AT_ONCE: Final = 32
_TIMEOUT: Final = aiohttp.ClientTimeout(total=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """What is sent of the things of a collection."""

    on: str
    to: str
    type: str
    secret: str = field(repr=False)
    scheme: str = "standard"
    after: tuple[float, float] = (0.0, 0.0)
    changes: Mapping[str, Any] = field(default_factory=dict)
    chance: float = 1.0

    @classmethod
    def of(cls, content: Any) -> Self:
        """Read one of a script.

        Raises
        ------
        WrongScript
        """
        if not isinstance(content, Mapping):
            raise WrongScript("a webhook is an object")
        unknown = sorted(set(content) - _KNOWN)
        if unknown:
            raise WrongScript(f"a webhook has no {', '.join(unknown)}")
        try:
            delay = content.get("after", 0.0)
            least, most = delay if isinstance(delay, list) else (delay, delay)
            found = cls(
                on=str(content["on"]),
                to=str(content["to"]),
                type=str(content["type"]),
                secret=str(content["secret"]),
                scheme=str(content.get("scheme", "standard")),
                after=(float(least), float(most)),
                changes=dict(content.get("set", {})),
                chance=float(content.get("chance", 1.0)),
            )
            signed(found.scheme, found.secret, "id", 0, b"")
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise WrongScript(f"a webhook: {type(error).__name__}: {error}") from None
        return found


def webhooks_of(script: str | bytes) -> list[Webhook]:
    """The webhooks of a script in JSON that `Script.read` takes.

    Raises
    ------
    WrongScript
    """
    found = json.loads(script).get("webhooks", [])
    if not isinstance(found, list):
        raise WrongScript("webhooks are a list")
    return [Webhook.of(one) for one in found]


def signed(scheme: str, secret: str, identity: str, seconds: int, body: bytes) -> dict[str, str]:
    """The headers of a delivery.

    Raises
    ------
    ValueError
        There is no such scheme, or the secret isn't one of it.
    """
    if scheme == "standard":
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        content = f"{identity}.{seconds}.".encode() + body
        signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
        return {
            "webhook-id": identity,
            "webhook-timestamp": str(seconds),
            "webhook-signature": f"v1,{signature}",
        }
    if scheme == "hex":
        signature = hmac.digest(secret.encode(), f"{seconds}.".encode() + body, "sha256").hex()
        return {"X-Delivery": identity, "X-Timestamp": str(seconds), "X-Signature": signature}
    raise ValueError('scheme is "standard" or "hex"')


@dataclass
class WebhookSender:
    """Sends webhooks for a book until it is stopped.

    Parameters
    ----------
    apps:
        Addresses of the app, for webhooks that give a path alone; another is tried where one is away.
    Attributes
    ----------
    pending, delivered, failed:
        Webhooks that are still to be sent, were answered with 2xx, and were given up.
    """

    book: Book
    apps: Sequence[str]
    random: Callable[[], float]
    webhooks: Sequence[Webhook] = ()
    pending: int = 0
    delivered: int = 0
    failed: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _session: aiohttp.ClientSession | None = None
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    def made(self, collection: str, name: str) -> None:
        """Send of a new thing what there is to send, each in its time."""
        for webhook in self.webhooks:
            if webhook.on == collection:
                self.pending += 1
                task = asyncio.get_running_loop().create_task(self._tell(webhook, name))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Send nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _tell(self, webhook: Webhook, name: str) -> None:
        least, most = webhook.after
        await asyncio.sleep(least + (most - least) * self.random())
        now = datetime.now(UTC)
        thing = self.book.change(webhook.on, name, {**webhook.changes, "updatedAt": now.isoformat()})
        if thing is not None and self.random() < webhook.chance:
            body = json.dumps({"type": webhook.type, "timestamp": now.isoformat(), "data": thing}).encode()
            async with self._places:
                was_delivered = await self._deliver(webhook, str(uuid4()), body)
            self.delivered += was_delivered
            self.failed += not was_delivered
        self.pending -= 1

    async def _deliver(self, webhook: Webhook, identity: str, body: bytes) -> bool:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        for number, pause in enumerate(_PAUSES):
            to = webhook.to if "://" in webhook.to else self.apps[number % len(self.apps)] + webhook.to
            headers = signed(webhook.scheme, webhook.secret, identity, int(datetime.now(UTC).timestamp()), body)
            headers["Content-Type"] = "application/json"
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with self._session.post(to, data=body, headers=headers, allow_redirects=False) as answer:
                    if 200 <= answer.status < 300:
                        return True
            await asyncio.sleep(pause)
        return False
