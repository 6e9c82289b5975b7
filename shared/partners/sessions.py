"""HTTP to one partner: a session per process whose connections, times and sizes are bounded.

aiohttp's own `read()` takes whatever a compressed answer becomes in memory: what comes is counted here, piece by piece.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

from shared.telemetry import watch_connections

from .errors import InvalidAnswer, PartnerError, PartnerFailed
from .partner import Partner

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession, ClientTimeout

__all__ = ["Connection", "Opened", "Received", "Request", "Session"]

_DNS_SECONDS = 10
_REFUSAL_BYTES = 16 * 1024
"""Bytes that are read of an answer that is an error."""
_ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})


class Request(NamedTuple):
    """One request, as it is sent; the path begins with a slash and is relative to the base URL.

    Attributes
    ----------
    endpoint:
        The class of endpoints that it belongs to, for breaker and metrics: no ids in it.
    """

    method: str
    path: str
    endpoint: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes | None


class Received(NamedTuple):
    """An answer, read to its end; of an error only the beginning. Header names are in lower case.

    Attributes
    ----------
    age:
        Seconds since the partner made it, where it comes out of a cache.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    age: float = 0.0


class Opened(NamedTuple):
    """An answer whose body is still to come; of an error its beginning is there, and `pieces` is empty."""

    head: Received
    pieces: AsyncIterator[bytes]


class Connection(Protocol):
    """The way to a partner: `Session`, or what a test puts in its place."""

    async def send(self, request: Request, *, seconds: float, identity: ssl.SSLContext | None = None) -> Received:
        """See `Session.send`."""
        ...

    def stream(
        self, request: Request, *, seconds: float, identity: ssl.SSLContext | None = None
    ) -> AbstractAsyncContextManager[Opened]:
        """See `Session.stream`."""
        ...

    async def close(self) -> None:
        """Let go of what is open."""
        ...


class Session:
    """The connections to one base URL, made with the first request and anew after their lifetime.

    Parameters
    ----------
    proxies:
        Whether the environment's proxies are used.
    clock:
        Seconds, monotonic.
    """

    def __init__(
        self,
        partner: Partner,
        base_url: str,
        *,
        proxies: bool,
        clock: Callable[[], float],
    ) -> None:
        self._partner = partner
        self._base_url = base_url
        self._proxies = proxies
        self._clock = clock
        self._open: _Open | None = None
        self._identity: ssl.SSLContext | None = None

    async def send(self, request: Request, *, seconds: float, identity: ssl.SSLContext | None = None) -> Received:
        """Send a request and read its answer within so many seconds.

        Parameters
        ----------
        identity:
            The TLS context with the app's own certificate, where the partner asks for one.

        Raises
        ------
        PartnerFailed, InvalidAnswer
        """
        name, endpoint = self._partner.name, request.endpoint
        if seconds <= 0:  # to aiohttp that is as long as it takes
            raise PartnerFailed(name, endpoint, "no time left", sent=False, tells=False)
        current = self._open
        if current is None or self._clock() >= current.ends or identity is not self._identity:
            current = await self._renewed(identity)
        aiohttp = _aiohttp()
        current.users += 1
        try:
            async with current.session.request(
                request.method,
                self._base_url + request.path,
                params=request.query or None,
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                timeout=_timeout(seconds, self._partner.timeouts.connect),
            ) as answer:
                return await self._read(answer, endpoint)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise _failure(error, name, endpoint, seconds) from None
        finally:
            await current.leave()

    @asynccontextmanager
    async def stream(
        self, request: Request, *, seconds: float, identity: ssl.SSLContext | None = None
    ) -> AsyncIterator[Opened]:
        """Send a request, and read its answer piece by piece; a partner isn't read faster than its pieces are taken.

        Parameters
        ----------
        seconds:
            Until the answer begins. How long each piece may take is up to whoever takes it.

        Raises
        ------
        PartnerFailed, InvalidAnswer
        """
        name, endpoint = self._partner.name, request.endpoint
        if seconds <= 0:
            raise PartnerFailed(name, endpoint, "no time left", sent=False, tells=False)
        current = self._open
        if current is None or self._clock() >= current.ends or identity is not self._identity:
            current = await self._renewed(identity)
        aiohttp = _aiohttp()
        current.users += 1
        try:
            try:
                async with asyncio.timeout(seconds):
                    answer = await current.session.request(
                        request.method,
                        self._base_url + request.path,
                        params=request.query or None,
                        headers=request.headers,
                        data=request.body,
                        allow_redirects=False,
                        timeout=_endless(self._partner.timeouts.connect),
                    )
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                raise _failure(error, name, endpoint, seconds) from None
            pieces = _pieces(answer, name, endpoint)
            try:
                if 200 <= answer.status < 300:
                    headers = {one.lower(): value for one, value in answer.headers.items()}
                    if headers.get("content-encoding", "").strip().lower() not in _ENCODINGS:
                        raise self._invalid(endpoint, answer.status, "an encoding that nobody asked for")
                    yield Opened(Received(answer.status, headers, b""), pieces)
                else:
                    try:
                        async with asyncio.timeout(seconds):
                            head = await self._read(answer, endpoint)
                    except (TimeoutError, aiohttp.ClientError, OSError) as error:
                        raise _failure(error, name, endpoint, seconds) from None
                    yield Opened(head, pieces)
            finally:
                await pieces.aclose()
                answer.close()
        finally:
            await current.leave()

    async def _read(self, answer: "ClientResponse", endpoint: str) -> Received:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        encoded = "content-encoding" in headers
        if encoded and headers["content-encoding"].strip().lower() not in _ENCODINGS:
            raise self._invalid(endpoint, answer.status, "an encoding that nobody asked for")
        is_good = 200 <= answer.status < 300
        limit = self._partner.largest_answer if is_good else _REFUSAL_BYTES
        length = answer.content_length or 0
        if is_good and length > limit:
            raise self._invalid(endpoint, answer.status, f"more than {limit} bytes")
        if not encoded and 0 < length <= limit:
            return Received(answer.status, headers, await answer.read())  # bounded by its own word
        pieces: list[bytes] = []
        size = 0
        async for piece in answer.content.iter_any():
            size += len(piece)
            if size > limit:
                if is_good:
                    raise self._invalid(endpoint, answer.status, f"more than {limit} bytes")
                pieces.append(piece[: limit - size])
                break  # leaving an answer unread closes its connection
            pieces.append(piece)
        return Received(answer.status, headers, pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def _invalid(self, endpoint: str, status: int, reason: str) -> PartnerError:
        return InvalidAnswer(self._partner.name, endpoint, f"answered {status} with {reason}")

    async def _renewed(self, identity: ssl.SSLContext | None) -> "_Open":
        former = self._open
        made = self._open = self._made(self._clock(), identity)
        self._identity = identity
        if former is not None:
            await former.retire()
        return made

    def _made(self, now: float, identity: ssl.SSLContext | None) -> "_Open":
        aiohttp = _aiohttp()
        pool = self._partner.pool
        secure = self._base_url.startswith("https:")
        connector = aiohttp.TCPConnector(
            limit=pool.connections,
            keepalive_timeout=pool.idle,
            ttl_dns_cache=_DNS_SECONDS,
            ssl=(identity or _trust()) if secure else True,
        )
        watch_connections(connector, urlsplit(self._base_url).hostname or "")
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=self._proxies,
            headers={"User-Agent": "sluice", "Accept": "application/json", "Accept-Encoding": "gzip, deflate"},
        )
        return _Open(session, now + pool.lifetime)

    async def close(self) -> None:
        """Close the connections, those of calls under way too."""
        if self._open is not None:
            current, self._open = self._open, None
            await current.session.close()
            await asyncio.sleep(0)  # the transports close in the loop's next turn


@dataclass(slots=True)
class _Open:
    session: "ClientSession"
    ends: float
    users: int = 0
    retired: bool = False

    async def leave(self) -> None:
        """One of them has gone."""
        self.users -= 1
        if self.retired and not self.users:
            await self.session.close()

    async def retire(self) -> None:
        """Close it as soon as nobody waits for an answer."""
        self.retired = True
        if not self.users:
            await self.session.close()


async def _pieces(answer: "ClientResponse", name: str, endpoint: str) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in answer.content.iter_any():
            yield piece
    except (_aiohttp().ClientError, OSError) as error:
        raise _failure(error, name, endpoint, 0.0) from None


def _failure(error: Exception, name: str, endpoint: str, seconds: float) -> PartnerError:
    """What aiohttp's errors are to a caller."""
    aiohttp = _aiohttp()
    kind = type(error).__name__
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return PartnerFailed(name, endpoint, "no connection in time", sent=False)
    if isinstance(error, TimeoutError):
        return PartnerFailed(name, endpoint, f"no answer within {seconds:.3g} s")
    if isinstance(error, aiohttp.ClientConnectorError):  # DNS and certificates too
        return PartnerFailed(name, endpoint, f"no connection ({kind})", sent=False)
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | OSError):
        return PartnerFailed(name, endpoint, f"the connection broke ({kind})")
    return InvalidAnswer(name, endpoint, f"no HTTP that can be read ({kind})")


@cache
def _aiohttp() -> ModuleType:
    """Loaded with the first call: it is much, and not everybody calls partners."""
    import aiohttp

    return aiohttp


@lru_cache(maxsize=256)
def _timeout(total: float, connect: float) -> "ClientTimeout":
    """Most calls have all of their partner's agreed time."""
    return cast("ClientTimeout", _aiohttp().ClientTimeout(total=total, sock_connect=connect))


@lru_cache(maxsize=16)
def _endless(connect: float) -> "ClientTimeout":
    """Of a stream: whoever reads it sees to its time."""
    return cast("ClientTimeout", _aiohttp().ClientTimeout(total=None, sock_connect=connect))


@cache
def _trust() -> ssl.SSLContext:
    """TLS 1.2 and later, with the system's certificates: made once, as reading them takes tens of milliseconds."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
