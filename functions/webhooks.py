"""Webhooks of others over HTTP: genuine ones are kept on their lane before they are answered."""

import asyncio
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID, uuid5

from starlette.requests import Request
from starlette.responses import Response

from shared.audit import SecurityEvent, security_event
from shared.http import ANONYMOUS, BadBody, Intake, Route, correlation_id, error, read_body
from shared.messages import ErrorCode, Handler, MessageError, Registry, parse_strict
from shared.resilience import BoundedCache, TokenBucket
from shared.secrets import SecretCache, UnfitSecret
from shared.telemetry import log_event
from shared.webhooks import EventGrid, Incoming, NotGenuine, Notice, Reply, WebhookSource

from .openapi import webhook_docs
from .unavailable import FAILURES, failed

__all__ = ["Webhooks"]

_IDS = UUID("5b0e6a52-6c1d-5d0a-9a37-0d2f0f4b8e11")
"""Message ids of webhooks are made from it, the source and the sender's own id: what is sent twice is the same."""
_IN_THREAD = 256 * 1024
_AT_ONCE = 64
_SECONDS = 10.0
_MOST_FIELDS = 1_000
_CERTIFICATE_LIVES = 86_400.0
_FETCHES = 10
"""Certificates that are fetched at once, and in a minute."""
_NOT_KEPT = "This could not be kept just now. Send it again."

Fetch = Callable[[str], Awaitable[bytes]]


class Webhooks:
    """The endpoints of all sources.

    Parameters
    ----------
    intake, secrets:
        Called with the first request, so that nothing connects before.
    fetch:
        Gets a certificate by its address.
    max_body:
        Bytes of the largest body that is read.
    public_url:
        Where senders reach the app, since some sign the address; empty where they reach it directly.
    """

    def __init__(
        self,
        registry: Registry,
        intake: Callable[[], Intake],
        secrets: Callable[[], SecretCache],
        fetch: Fetch,
        *,
        max_body: int,
        public_url: str = "",
        now: Callable[[], datetime],
    ) -> None:
        self._registry = registry
        self._intake = intake
        self._secrets = secrets
        self._fetch = fetch
        self._max_body = max_body
        self._public_url = public_url
        self._now = now
        self._fetched: BoundedCache[str, bytes] = BoundedCache(16, ttl=_CERTIFICATE_LIVES)
        self._fetches = TokenBucket(capacity=_FETCHES, rate=_FETCHES / 60, clock=time.monotonic)

    def routes(self) -> list[Route]:
        """One for each method of each source; its own check of the sender stands in place of a role."""
        return [
            Route(
                method=method,
                path=f"webhooks/{source.name}",
                endpoint=self._taking(source),
                access=ANONYMOUS,
                scheme=f"the signature of {source.name}",
                query=source.scheme.query,
                docs=webhook_docs(source.name, method),
                direct=True,
            )
            for source in self._registry.webhook_sources.values()
            for method in source.scheme.methods
        ]

    def _taking(self, source: WebhookSource) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await self.take(request, source)

        return endpoint

    async def take(self, request: Request, source: WebhookSource) -> Response:
        """Answer once everything that the request tells is kept; what is sent again is the same messages again."""
        now = self._now()
        try:
            async with asyncio.timeout(_SECONDS):
                incoming = self._incoming(request, await read_body(request, limit=self._max_body))
                return _response(await self._taken(incoming, source))
        except NotGenuine as refused:
            security_event(SecurityEvent.BAD_SIGNATURE, str(refused), method=request.method, path=request.url.path)
            return error(ErrorCode.UNAUTHENTICATED, "The signature doesn't fit.", now=now)
        except MessageError as refused:
            code = refused.code if isinstance(refused, BadBody) else ErrorCode.MALFORMED_JSON
            return error(code, refused.message, now=now, details=refused.details)
        except FAILURES as failure:
            return failed(failure, _NOT_KEPT, now=now)

    async def take_undelivered(self, event: Mapping[str, Any]) -> bool:
        """Keep an event that Event Grid couldn't deliver, under the id that it would have had.

        False where nobody handles it, or several sources might: an event doesn't say which of them it was for. Whatever
        is raised, it wasn't kept.
        """
        incoming = Incoming("POST", "", {}, b"")
        fits: list[tuple[WebhookSource, list[Notice]]] = []
        for source in self._registry.webhook_sources.values():
            notices = source.scheme.notices(incoming, dict(event)) if isinstance(source.scheme, EventGrid) else []
            if notices and self._registry.webhook(source.name, notices[0].topic) is not None:
                fits.append((source, list(notices)))
        if len(fits) != 1:
            return False
        ((source, notices),) = fits
        await self._keep(notices, incoming, source)
        return True

    async def _taken(self, incoming: Incoming, source: WebhookSource) -> Reply:
        scheme = source.scheme
        if incoming.method == "OPTIONS":
            return scheme.handshake(incoming, None, ()) or Reply(404)
        secrets = await self._values(source)
        url = scheme.fetches(incoming)
        fetched = b"" if url is None else await self._document(url)
        try:
            scheme.verify(incoming, secrets, now=self._now(), fetched=fetched)
        except ValueError as failure:
            raise UnfitSecret(" or ".join(source.secrets), str(failure)) from None
        if url is not None:
            self._fetched.put(url, fetched)  # once it has proved to be the sender's
        content = await _parsed(incoming)
        answer = scheme.handshake(incoming, content, secrets)
        if answer is None:
            await self._keep(scheme.notices(incoming, content), incoming, source)
            answer = scheme.accepted(incoming, content)
        return answer

    async def _values(self, source: WebhookSource) -> list[str]:
        """The current value of each secret, and the one before for as long as it is accepted."""
        found = await asyncio.gather(*(self._secrets().both(name) for name in source.secrets))
        return [one.value for versions in found for one in versions]

    async def _document(self, url: str) -> bytes:
        known = self._fetched.get(url)
        if known is not None:
            return known
        if not self._fetches.take():  # anybody may name addresses
            raise TimeoutError(f"{url} isn't read now: too many others are asked for")
        try:
            return await self._fetch(url)
        except Exception as failure:  # whatever it raises: nobody can tell now whether the request is genuine
            raise TimeoutError(f"{url} can't be read: {type(failure).__name__}") from failure

    async def _keep(self, notices: Sequence[Notice], incoming: Incoming, source: WebhookSource) -> None:
        """Keep all of them, or raise: the sender repeats them all then, and none counts twice."""
        seen: Counter[str] = Counter()
        places = asyncio.Semaphore(_AT_ONCE)
        correlation = correlation_id()

        async def keep(handler: Handler, identity: str, notice: Notice) -> None:
            async with places:
                await self._intake().take(
                    handler,
                    uuid5(_IDS, f"{source.name}\n{identity}"),
                    notice.content,
                    notice.raw,
                    source=f"/webhooks/{source.name}",
                    correlation_id=correlation,
                    client=f"webhook:{source.name}",
                )

        waiting = []
        for notice in notices:
            handler = self._registry.webhook(source.name, notice.topic)
            if handler is None:
                log_event("webhook ignored", level=logging.WARNING, source=source.name, topic=notice.topic[:128])
                continue
            identity = notice.delivery or hashlib.sha256(incoming.body).hexdigest()
            seen[identity] += 1  # several under one id, or without any, differ by their place
            waiting.append(keep(handler, f"{identity}\n{seen[identity]}", notice))
        for failure in await asyncio.gather(*waiting, return_exceptions=True):
            if failure is not None:
                raise failure

    def _incoming(self, request: Request, body: bytes) -> Incoming:
        headers: dict[str, str] = {}
        for name, value in request.headers.items():
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        base = self._public_url.rstrip("/") or f"{request.url.scheme}://{request.url.netloc}"
        return Incoming(request.method, base + asked, headers, body, dict(request.query_params))


async def _parsed(incoming: Incoming) -> Any:
    """A form, or JSON: what stands alone in a form's field `payload` is JSON too.

    Raises
    ------
    MessageError
        It is neither.
    """
    body = incoming.body
    kind = incoming.headers.get("content-type", "").partition(";")[0].strip()
    # No signature covers the type: JSON stays JSON, whatever it is called.
    if kind == "application/x-www-form-urlencoded" and body.lstrip()[:1] not in (b"{", b"["):
        try:
            fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
        except ValueError:
            raise BadBody(ErrorCode.BAD_REQUEST, "The body is no form.") from None
        if fields.keys() != {"payload"}:
            return fields
        body = fields["payload"].encode()
    return parse_strict(body) if len(body) <= _IN_THREAD else await asyncio.to_thread(parse_strict, body)


def _response(reply: Reply) -> Response:
    return Response(reply.body, status_code=reply.status, headers=dict(reply.headers))
