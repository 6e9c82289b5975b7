"""Relays that count what an app asks of storage and of the broker: one for HTTP, one for AMQP.

They stand between the app and the local parts, pass every byte on unchanged, and know nothing of the app.
"""

import asyncio
import re
import struct
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from local_azure.broker.amqp.frames import AMQP_FRAME
from local_azure.broker.amqp.message import data_sections, scan
from local_azure.broker.amqp.performatives import Attach, Disposition, Transfer, decode_performative

__all__ = ["AmqpRelay", "Counts", "HttpRelay", "blob_operations", "table_operations"]

Counts = Counter[str]
"""How often each kind of operation was asked for, by a name such as `table point read`."""

_BATCH_FORMAT = 0x80013700
_HEADER = 8
_unpack = struct.Struct(">IBBH").unpack_from
_PIECE = 65_536
_TABLE_ROW = re.compile(r"\(PartitionKey='.*',\s*RowKey='.*'\)$")
_CHANGE = re.compile(rb"^(POST|PUT|MERGE|PATCH|DELETE) http", re.MULTILINE)


class HttpRelay:
    """Passes requests on to one service of the storage and counts them by kind.

    Parameters
    ----------
    kind:
        Names a request: its method, its path and query, and its body become the operations that it counts for.
    """

    def __init__(self, target: str, kind: Callable[[str, URL, bytes], Counts], counts: Counts) -> None:
        self._target = URL(target)
        self._kind = kind
        self._counts = counts
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.ServerRunner | None = None

    async def start(self) -> str:
        """Listen on a free port; returns the address that takes the place of the target's."""
        self._session = aiohttp.ClientSession(
            auto_decompress=False, skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
        )
        self._runner = web.ServerRunner(web.Server(self._pass_on))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        return str(self._target.with_host("127.0.0.1").with_port(port))

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        path = URL(str(request.rel_url.raw_path_qs), encoded=True)
        self._counts.update(self._kind(request.method, path, body))
        assert self._session is not None
        address = URL(f"{self._target.origin()}{request.raw_path}", encoded=True)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() != "transfer-encoding"]
        async with self._session.request(
            request.method, address, headers=headers, data=body or None, allow_redirects=False
        ) as answer:
            hop = {"transfer-encoding", "connection", "keep-alive", "content-length"}
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in hop]
            content = await answer.read()
            response = web.Response(status=answer.status, reason=answer.reason, body=content)
            response.headers.clear()
            response.headers.extend(kept)
            if request.method == "HEAD" and "Content-Length" in answer.headers:
                response.headers["Content-Length"] = answer.headers["Content-Length"]
            return response

    async def stop(self) -> None:
        """Close every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()


def table_operations(method: str, path: URL, body: bytes) -> Counts:
    """A request to the Table service; a transaction counts its entities too, which are what is billed."""
    if path.raw_path.endswith("/$batch"):
        return Counter({"table transactions": 1, "table entities written": len(_CHANGE.findall(body))})
    if path.raw_path.endswith("/Tables") or "comp" in path.query or "restype" in path.query:
        return Counter()  # making tables: once in an app's life
    if method == "GET":
        if _BY_THE_CLOCK in path.query_string:
            return Counter()
        name = "table point reads" if _TABLE_ROW.search(path.path) else "table queries"
        return Counter({name: 1})
    return Counter({"table single writes": 1, "table entities written": 1})


def blob_operations(method: str, path: URL, _: bytes) -> Counts:
    """A request to the Blob service."""
    if path.query.get("restype") == "container" and path.query.get("comp") != "list":
        return Counter()  # making containers: once in an app's life
    if path.query.get("comp") == "list":
        return Counter({"blob lists": 1})
    names = {"GET": "blob reads", "HEAD": "blob reads", "PUT": "blob writes", "DELETE": "blob deletes"}
    return Counter({names.get(method, "blob writes"): 1})


_BY_THE_CLOCK = "':versions'"
"""Which versions of views there are: asked once in some seconds, whatever messages come."""
_SCHEDULED, _ANNOTATIONS = b"x-opt-scheduled-enqueue-time", 80
"""A message that is to be shown later says so in its annotations, which come first."""


@dataclass
class _Way:
    """One direction of a connection: its unfinished bytes, and the links that its peer attached."""

    unfinished: bytearray = field(default_factory=bytearray)
    links: dict[tuple[int, int], tuple[bool, str]] = field(default_factory=dict)
    partial: dict[tuple[int, int], tuple[bytearray, int]] = field(default_factory=dict)


class AmqpRelay:
    """Passes AMQP on to the broker and counts messages, events and settlements by the entities' names.

    Parameters
    ----------
    hubs:
        Names of the event hubs; every other entity is a queue.
    """

    def __init__(self, port: int, hubs: frozenset[str], counts: Counts) -> None:
        self._port = port
        self._hubs = hubs
        self._counts = counts
        self._server: asyncio.Server | None = None
        self._busy: set[asyncio.Task[Any]] = set()

    async def start(self) -> int:
        """Listen on a free port, and return it."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _connected(self, near: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        far, ask = await asyncio.open_connection("localhost", self._port)
        asked, answered = _Way(), _Way()
        await asyncio.gather(
            self._task(_copy(near, ask, lambda data: self._asked(asked, answered, data))),
            self._task(_copy(far, answer, lambda data: self._answered(asked, answered, data))),
            return_exceptions=True,
        )

    def _task(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)
        return task

    def _asked(self, way: _Way, _: _Way, data: bytes) -> None:
        """What the client sends: messages on its sending links, settlements of what it received."""
        for channel, frame, payload in _frames(way, data):
            match frame:
                case Attach() as attach:
                    receives = attach.role
                    terminus = attach.source if receives else attach.target
                    address = terminus.address if terminus is not None else None
                    way.links[channel, attach.handle] = (receives, _entity(address or ""))
                case Transfer() as transfer:
                    self._sent(way, channel, transfer, payload)
                case Disposition(role=True) as settled:
                    last = settled.last if settled.last is not None else settled.first
                    self._counts["bus settlements"] += last - settled.first + 1

    def _sent(self, way: _Way, channel: int, transfer: Transfer, payload: bytes) -> None:
        link = channel, transfer.handle
        whole, form = way.partial.pop(link, (bytearray(), transfer.message_format or 0))
        whole += payload
        if transfer.more:
            way.partial[link] = whole, form
            return
        _, entity = way.links.get(link, (False, ""))
        if entity.startswith("$") or not entity:
            return
        if entity.endswith("/$management"):
            operation = scan(bytes(whole)).application_properties.get("operation")
            if operation == "com.microsoft:schedule-message":
                self._counts["bus messages scheduled"] += 1
            return
        messages = list(data_sections(bytes(whole), 0)) if form == _BATCH_FORMAT else [bytes(whole)]
        later = sum(_SCHEDULED in bytes(one)[:_ANNOTATIONS] for one in messages)
        kind = "events" if entity.partition("/")[0] in self._hubs else "bus messages"
        self._counts[f"{kind} sent"] += len(messages) - later
        self._counts["bus messages scheduled"] += later

    def _answered(self, asked: _Way, way: _Way, data: bytes) -> None:
        """What the broker sends: messages on the links on which the client receives."""
        for channel, frame, _ in _frames(way, data):
            match frame:
                case Attach() as attach:
                    source = attach.source.address if attach.source is not None else ""
                    way.links[channel, attach.handle] = (not attach.role, _entity(source or ""))
                case Transfer(more=more) as transfer if not more:
                    _, entity = way.links.get((channel, transfer.handle), (True, ""))
                    if entity.startswith("$") or "$management" in entity or not entity:
                        continue
                    hub = entity.partition("/")[0] in self._hubs
                    self._counts["events received" if hub else "bus messages received"] += 1

    async def stop(self) -> None:
        """Close every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._busy):
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, see: Callable[[bytes], None]) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(_PIECE):
            see(data)
            writer.write(data)
            await writer.drain()
    writer.close()


def _frames(way: _Way, data: bytes) -> Iterator[tuple[int, object, bytes]]:
    """Channel, performative and payload of each AMQP frame that is whole now; headers and SASL are left out."""
    way.unfinished += data
    while len(way.unfinished) >= _HEADER:
        size, offset, kind, channel = _unpack(way.unfinished)
        if way.unfinished.startswith(b"AMQP"):
            size = _HEADER
        elif len(way.unfinished) < size:
            return
        frame = bytes(way.unfinished[:size])
        del way.unfinished[:size]
        if not frame.startswith(b"AMQP") and kind == AMQP_FRAME and size > 4 * offset:
            performative, after = decode_performative(frame, 4 * offset, size)
            yield channel, performative, frame[after:]


def _entity(address: str) -> str:
    """`amqps://host/queue` and `queue` name the same."""
    if "://" in address:
        address = address.split("://", 1)[1].partition("/")[2]
    return address.strip("/")
