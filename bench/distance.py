"""Puts a broker some milliseconds away: `python -m bench.distance PORT MILLISECONDS` listens on a free port.

Azure's broker answers in milliseconds, not in microseconds as on loopback; bytes keep their order and pace here, each
is only passed on later.
"""

import asyncio
import sys
from contextlib import suppress

__all__ = ["main"]

_PIECE = 65_536


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Whatever comes in goes out `seconds` later; reading goes on meanwhile."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1_000)

    async def read() -> None:
        while True:
            try:
                data = await reader.read(_PIECE)
            except ConnectionError:  # whoever was there has gone: the same as an end
                data = b""
            await pieces.put((loop.time() + seconds, data))
            if not data:
                return

    async def write() -> None:
        while True:
            due, data = await pieces.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()

    with suppress(ConnectionError):
        await asyncio.gather(read(), write())
    writer.close()


async def main(port: int, milliseconds: float) -> None:
    """Serve until the process is ended."""
    each_way = milliseconds / 2_000

    async def connected(near: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        far, ask = await asyncio.open_connection("localhost", port)
        await asyncio.gather(_pass_on(near, ask, each_way), _pass_on(far, answer, each_way))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(f"ready port={server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
