"""How an answer is presented: compressed for who takes that, with links where HAL is asked for."""

import asyncio
import gzip
import json
import re
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HAL", "Presented"]

HAL = "application/hal+json"
SMALLEST = 1_024
"""Bytes of a body that is worth compressing: a smaller one fits into a packet anyway."""
_IN_PLACE = 65_536
"""Bytes that are compressed on the loop, in about a millisecond; more go to a thread."""
_GZIP_LEVEL, _BROTLI_QUALITY = 5, 4
_LINKED = "-hal"
"""Ends the ETag of an answer with links: its bytes are others."""
_TAG = re.compile(rb'"([^"]*)"')
_TYPES = ("application/json", "application/hal+json", "application/problem+json", "application/xml", "text/")


class Presented:
    """ASGI middleware; bodies that are sent in one piece are presented, streams pass as they are.

    Parameters
    ----------
    public_path:
        The path prefix of the public address, which links begin with.
    """

    def __init__(self, app: ASGIApp, *, public_path: str) -> None:
        self._app = app
        self._public_path = public_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        encoding = chosen_encoding(headers.get("accept-encoding", ""))
        wants_links = HAL in headers.get("accept", "")
        if wants_links:
            scope["headers"] = [(name, _own_tags(name, value)) for name, value in scope["headers"]]
        start: Message | None = None

        async def present(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start is None:
                await send(message)
                return
            began, start = start, None
            if not message.get("more_body", False):
                body = message.get("body", b"")
                answered = MutableHeaders(scope=began)
                if wants_links and body and began["status"] < 300:
                    body = self._linked(scope, answered, body)
                elif wants_links and (began["status"] in (304, 412) or scope["method"] == "HEAD"):
                    _mark_linked(answered)
                body = await _compressed(answered, body, encoding if scope["method"] != "HEAD" else "")
                message = {**message, "body": body}
            await send(began)
            await send(message)

        await self._app(scope, receive, present)

    def _linked(self, scope: Scope, answered: MutableHeaders, body: bytes) -> bytes:
        """A JSON object with `_links` (draft-kelly-json-hal-11): itself, the next page, the operation."""
        if answered.get("content-type", "").partition(";")[0] != "application/json":
            return body
        content = json.loads(body)
        if not isinstance(content, dict) or "_links" in content:
            return body
        query = scope["query_string"].decode("latin-1")
        own = self._public_path + quote(scope["path"], errors="replace") + (f"?{query}" if query else "")
        links = {"self": {"href": own}}
        if isinstance(content.get("nextLink"), str):
            links["next"] = {"href": content["nextLink"]}
        if "location" in answered:
            links["operation"] = {"href": answered["location"]}
        answered["Content-Type"] = HAL
        _mark_linked(answered)
        opened = b'{"_links":' + json.dumps(links, separators=(",", ":")).encode() + (b"," if content else b"")
        linked = opened + body.lstrip()[1:]  # the rest as it was: a number is not written anew
        if "content-length" in answered:
            answered["Content-Length"] = str(len(linked))
        return linked


def _mark_linked(answered: MutableHeaders) -> None:
    _vary(answered, "Accept")
    if (etag := answered.get("etag", "")).endswith('"'):
        answered["ETag"] = f'{etag[:-1]}{_LINKED}"'


def _own_tags(name: bytes, value: bytes) -> bytes:
    """The ETags of a condition as they are without links. That of the plain answer names the same version (`If-Match`),
    but not the same bytes.
    """
    if name not in (b"if-none-match", b"if-match"):
        return value
    suffix = _LINKED.encode()

    def plain(found: re.Match[bytes]) -> bytes:
        if found[1].endswith(suffix):
            return b'"%s"' % found[1].removesuffix(suffix)
        return found[0] if name == b"if-match" else b'""'

    return _TAG.sub(plain, value)


def _vary(answered: MutableHeaders, name: str) -> None:
    known = answered.get("vary", "")
    if name.lower() not in [one.strip().lower() for one in known.split(",")]:
        answered["Vary"] = f"{known}, {name}" if known else name


async def _compressed(answered: MutableHeaders, body: bytes, encoding: str) -> bytes:
    kind = answered.get("content-type", "")
    if len(body) < SMALLEST or "content-encoding" in answered or not kind.startswith(_TYPES):
        return body
    _vary(answered, "Accept-Encoding")
    if not encoding:
        return body
    shorter = _encode(body, encoding) if len(body) <= _IN_PLACE else await asyncio.to_thread(_encode, body, encoding)
    answered["Content-Encoding"] = encoding
    answered["Content-Length"] = str(len(shorter))
    if (etag := answered.get("etag", "")).startswith('"'):  # other bytes: the same only in what they mean
        answered["ETag"] = f"W/{etag}"
    return shorter


def _encode(body: bytes, encoding: str) -> bytes:
    if encoding == "br":
        import brotli  # with the first client that takes it

        compressed: bytes = brotli.compress(body, quality=_BROTLI_QUALITY)
        return compressed
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)


def chosen_encoding(accepted: str) -> str:
    """`br`, `gzip`, or nothing, by what a client accepts (RFC 9110, 12.5.3); of equals the shorter one.

    Example
    -------
    >>> chosen_encoding("gzip;q=0.5, br;q=0.4, *;q=0")
    'gzip'
    """
    weights: dict[str, float] = {}
    for part in accepted.lower().split(",")[:20]:
        name, _, parameters = part.partition(";")
        weights[name.strip()] = _weight(parameters)
    found = {one: weights.get(one, weights.get("*", 0.0)) for one in ("br", "gzip")}
    best = max(found, key=lambda one: found[one])
    return best if found[best] > 0 else ""


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
