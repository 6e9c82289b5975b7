"""Posts webhooks: every socket is checked where it is made, and nothing that a receiver answers can hurt.

aiohttp resolves a name once for each connection and hands every address that it is about to connect to, one that stood
in the URL too, to the socket factory: a name that resolves to another address a moment later gains nothing. TLS and
`Host` stay the name's.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .addresses import AddressPolicy, RefusedAddress, Target, check_url

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession
    from aiohttp.abc import AbstractResolver

__all__ = ["Answer", "HttpSender", "Sender", "resolved"]

KEPT_BYTES = 1_024
"""Of an answer: enough to see what a receiver says is wrong."""
_DRAINED_BYTES = 16 * 1024
"""An answer up to here is read to its end, so that its connection is used again."""
_CONNECTIONS, _IDLE, _DNS_SECONDS = 200, 60.0, 10
_CONNECT_SECONDS = 5.0
_RESOLVE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came of one POST.

    Attributes
    ----------
    status:
        None where there was no answer.
    seconds:
        From the request to the answer, or to giving up.
    headers:
        By their names in lower case; of a good answer nobody asks for them, and there are none.
    body:
        The first bytes of the answer.
    problem:
        Why there is no answer, in words of ours; empty where there is one.
    timed_out, refused:
        No answer in time; an address that must not be called.
    unsent, own:
        Nothing was sent, since there was no credential; the app's own is what was lacking.
    """

    status: int | None
    seconds: float
    headers: Mapping[str, str]
    body: bytes = b""
    problem: str = ""
    timed_out: bool = False
    refused: bool = False
    unsent: bool = False
    own: bool = False

    @property
    def good(self) -> bool:
        """The receiver has it; a redirect is a failure (Standard Webhooks)."""
        return self.status is not None and 200 <= self.status < 300


class Sender(Protocol):
    """The way to receivers: `HttpSender`, or what a test puts in its place."""

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        identity: ssl.SSLContext | None = None,
        most: int = KEPT_BYTES,
    ) -> Answer:
        """See `HttpSender.post`."""
        ...

    async def close(self) -> None:
        """Let go of what is open."""
        ...


class HttpSender:
    """One session for all receivers; nothing of one reaches another, since no cookies are kept.

    Parameters
    ----------
    seconds:
        Until the answer is there.
    resolver:
        In place of the system's.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        seconds: float,
        resolver: "AbstractResolver | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._seconds = seconds
        self._resolver = resolver
        self._clock = clock
        self._session: ClientSession | None = None

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        identity: ssl.SSLContext | None = None,
        most: int = KEPT_BYTES,
    ) -> Answer:
        """Send a body; whatever goes wrong is in the answer.

        Parameters
        ----------
        identity:
            A TLS context with the app's own certificate, for a receiver that asks for one.
        most:
            Bytes of the answer that are kept.
        """
        import aiohttp  # loaded with the first webhook

        began = self._clock()

        def failed(problem: str, *, timed_out: bool = False, refused: bool = False) -> Answer:
            seconds = self._clock() - began
            return Answer(
                status=None, seconds=seconds, headers={}, problem=problem, timed_out=timed_out, refused=refused
            )

        try:
            check_url(url, self._policy)
            async with self._opened().post(
                url, data=body, headers=headers, allow_redirects=False, ssl=identity or True
            ) as answer:
                kept = await _beginning(answer, most)
                return Answer(
                    status=answer.status,
                    seconds=self._clock() - began,
                    headers={} if answer.ok else {name.lower(): value for name, value in answer.headers.items()},
                    body=kept,
                )
        except TimeoutError:  # aiohttp's own too
            return failed(f"no answer within {self._seconds:g} s", timed_out=True)
        except RefusedAddress as error:
            return failed(str(error), refused=True)
        except aiohttp.ClientConnectorDNSError:
            return failed("the host's name can't be resolved")
        except aiohttp.ClientConnectorCertificateError:
            return failed("the certificate doesn't hold")
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, RefusedAddress):
                return failed(str(error.os_error), refused=True)
            return failed("no connection")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return failed(f"no HTTP that can be read ({type(error).__name__})")

    def _opened(self) -> "ClientSession":
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=_CONNECTIONS,
                    keepalive_timeout=_IDLE,
                    ttl_dns_cache=_DNS_SECONDS,
                    resolver=self._resolver,
                    socket_factory=self._socket,
                ),
                timeout=aiohttp.ClientTimeout(total=self._seconds, sock_connect=_CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # what is compressed stays small
                trust_env=False,
                headers={"User-Agent": "Sluice-Webhooks"},
            )
        return self._session

    def _socket(self, address: Any) -> socket.socket:
        """A socket to an address that was resolved, if it may be called."""
        family, kind, protocol, _, where = address
        self._policy.check(str(where[0]))
        made = socket.socket(family=family, type=kind, proto=protocol)
        made.setblocking(False)
        return made

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _beginning(answer: "ClientResponse", most: int) -> bytes:
    """The first bytes; of an endless answer no more is read, and leaving it closes its connection.

    The status says all that counts: an answer that breaks off afterwards is an answer.
    """
    if 0 < (answer.content_length or 0) <= _DRAINED_BYTES:
        with suppress(Exception):
            return (await answer.read())[:most]
    kept = b""
    size = 0
    with suppress(Exception):
        async for piece in answer.content.iter_any():
            size += len(piece)
            kept += piece[: max(0, most - len(kept))]
            if size > _DRAINED_BYTES:
                answer.close()
                break
    return kept


Resolve = Callable[[Target], Awaitable[list[str]]]
"""The addresses that a name has now; raises OSError."""


async def resolved(target: Target) -> list[str]:
    """The addresses that the system's resolver has for a target; raises OSError, TimeoutError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_RESOLVE_SECONDS):
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    return [str(where[0]) for *_, where in found]
