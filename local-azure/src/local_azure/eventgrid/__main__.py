"""Runs Event Grid: `python -m local_azure.eventgrid --port PORT --data-dir FOLDER`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from pathlib import Path

import aiohttp

from local_azure.eventgrid.access import Bearer, bearer_check
from local_azure.eventgrid.policy import DEAD_LETTER_DELAY
from local_azure.eventgrid.running import running_grid
from local_azure.eventgrid.transports import Connections
from local_azure.identity.client import IdentityAddress
from local_azure.stopping import stop_on_signals

__all__ = ["main"]

_KEYS_TIMEOUT = aiohttp.ClientTimeout(total=5)


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; give the exit code."""
    parser = argparse.ArgumentParser(
        prog="local-azure eventgrid",
        description="Event Grid on this machine. Connection strings of the services that subscriptions name are read "
        "from the variables EVENTGRID_SERVICE_BUS, EVENTGRID_EVENT_HUBS and EVENTGRID_STORAGE.",
    )
    parser.add_argument("--port", type=int, default=5340, help="HTTP port, 0 for any free one")
    parser.add_argument("--data-dir", type=Path, default=Path(".eventgrid"), help="where everything is kept")
    parser.add_argument("--topic", action="append", default=[], metavar="NAME", help="takes CloudEvents; many times")
    parser.add_argument("--identity", metavar="URL", help="the issuer whose tokens it takes")
    parser.add_argument("--tenant", default="", metavar="ID", help="the issuer's tenant")
    parser.add_argument(
        "--dead-letter-seconds", type=float, default=DEAD_LETTER_DELAY, help="from the last try to the blob"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    try:
        asyncio.run(_serve(options))
    except OSError as error:
        print(f"eventgrid: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


async def _serve(options: argparse.Namespace) -> None:
    connections = Connections(
        service_bus=os.environ.get("EVENTGRID_SERVICE_BUS", ""),
        event_hubs=os.environ.get("EVENTGRID_EVENT_HUBS", ""),
        storage=os.environ.get("EVENTGRID_STORAGE", ""),
    )
    async with (
        aiohttp.ClientSession(timeout=_KEYS_TIMEOUT) as session,
        running_grid(
            connections,
            now=time.time,
            folder=options.data_dir,
            port=options.port,
            bearer=_bearer(session, options),
            dead_letter_delay=options.dead_letter_seconds,
        ) as running,
    ):
        known = {one.name.lower() for one in running.grid.topics()}
        for name in options.topic:
            if name.lower() not in known:
                running.put_topic(name, {"inputSchema": "CloudEventSchemaV1_0"})
        stopped = asyncio.Event()
        stop_on_signals(stopped)
        print(f"ready eventgrid={running.url}", flush=True)  # noqa: T201
        await stopped.wait()


def _bearer(session: aiohttp.ClientSession, options: argparse.Namespace) -> Bearer | None:
    if options.identity is None:
        return None
    address = IdentityAddress(options.identity, options.tenant)

    async def fetch() -> dict[str, object]:
        try:
            async with session.get(address.jwks_uri) as answer:
                found = await answer.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise OSError(f"the issuer's keys can't be had: {type(error).__name__}") from None
        return dict(found)

    return bearer_check(fetch, (address.first_issuer, address.issuer))


if __name__ == "__main__":
    sys.exit(main())
