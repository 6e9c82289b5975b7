"""One request over one connection, as the bytes it was given, and the one answer to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import h11

__all__ = ["Answer", "exchange"]

_PATIENCE_SECONDS = 30.0
_MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back: status 0 where the connection was closed without one, -1 where nothing came in time."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False


async def exchange(
    host: str, port: int, pieces: Sequence[bytes], *, head_only: bool = False, hang_up: bool = False
) -> Answer:
    """Send the pieces one after the other, and read the answer.

    Parameters
    ----------
    head_only:
        The answer has no body, whatever its length says.
    hang_up:
        Close the sender's side after the last piece: nothing more comes.
    """
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                sending = asyncio.create_task(_send(writer, pieces, hang_up=hang_up))
                try:
                    return await _receive(reader, head_only=head_only)
                finally:
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        return Answer(status=-1)
    except OSError:
        return Answer(status=0)


async def _send(writer: asyncio.StreamWriter, pieces: Sequence[bytes], *, hang_up: bool) -> None:
    """A server may answer, and close, before all is sent."""
    with contextlib.suppress(OSError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if hang_up:
            writer.write_eof()


async def _receive(reader: asyncio.StreamReader, *, head_only: bool) -> Answer:
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=256 * 1024)
    # The parser wants to know what was asked: for an answer's length only HEAD matters.
    parser.send(h11.Request(method="HEAD" if head_only else "GET", target="/", headers=[("Host", "x")]))
    parser.send(h11.EndOfMessage())
    status, body = 0, bytearray()
    headers: dict[str, str] = {}
    while True:
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError:
            return Answer(status=status, headers=headers, body=bytes(body))
        if event is h11.NEED_DATA:
            try:
                parser.receive_data(await reader.read(65_536))
            except OSError:
                return Answer(status=status, headers=headers, body=bytes(body))
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _MOST_BYTES:
                return Answer(status=status, headers=headers, body=bytes(body))
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status=status, headers=headers, body=bytes(body), whole=True)
        elif isinstance(event, h11.ConnectionClosed):
            return Answer(status=status, headers=headers, body=bytes(body))
