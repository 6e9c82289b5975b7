"""Puts a broker together: storage, entities, sockets. For the command line, and for tests in their own process."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_azure.broker.broker import Broker
from local_azure.broker.catalogue import Catalogue
from local_azure.broker.config import Namespace
from local_azure.broker.journal import Journal, VolatileJournal
from local_azure.broker.server import Server
from local_azure.broker.storage import Database, DurableJournal, StorageError

__all__ = ["RunningBroker", "running_broker"]

_KEY: Final = "SAS_KEY_VALUE"
"""The official emulators' placeholder, which is no secret: every key is accepted."""


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """A broker that listens.

    Attributes
    ----------
    catalogue
        Its entities; to be changed in the loop that runs it.
    port
        Of AMQP, and of all else that is served.
    admin_port
        Of HTTP; None if it has none.
    failed
        Gets the `StorageError` that keeps the broker from going on.
    """

    catalogue: Catalogue
    port: int
    admin_port: int | None
    failed: asyncio.Future[None]

    @property
    def connection_string(self) -> str:
        """What the SDKs are given, for Service Bus and Event Hubs alike."""
        return (
            f"Endpoint=sb://localhost:{self.port};SharedAccessKeyName=RootManageSharedAccessKey;"
            f"SharedAccessKey={_KEY};UseDevelopmentEmulator=true;"
        )


@asynccontextmanager
async def running_broker(
    declared: Namespace,
    *,
    data: Path | None = None,
    waits_for_disk: bool = False,
    host: str = "127.0.0.1",
    port: int = 0,
    admin_port: int | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[RunningBroker]:
    """Run a broker with the entities of `declared` until the block ends; ports of 0 are any free ones.

    It keeps everything in memory unless `data` names a folder; what it acknowledges outlives the process then, and
    with `waits_for_disk` a power cut. Without `admin_port` it serves no HTTP.

    Raises
    ------
    AdministrationError, StorageError
        If what `data` holds does not go with what is declared, or cannot be used.
    OSError
        If a port is taken.
    """
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()
    database = None if data is None else Database(data, waits_for_disk=waits_for_disk)
    after_work: list[Callable[[], None]] = []

    def in_loop(action: Callable[[], None]) -> None:
        action()
        for then in after_work:
            then()

    def on_failure(error: StorageError) -> None:
        if not failed.done():
            failed.set_exception(error)

    def in_thread(action: Callable[[], None]) -> None:
        loop.call_soon_threadsafe(in_loop, action)

    journal: Journal = VolatileJournal()
    if database is not None:
        journal = DurableJournal(database, run_in_loop=in_thread, on_failure=on_failure)
    broker = Broker(journal=journal, now=_now)
    catalogue = Catalogue(broker)
    if database is not None:
        catalogue.restore(database)
    catalogue.declare(declared)
    server = Server(broker)
    after_work.append(server.run)
    amqp = await server.start(host, port, tls)
    admin = None
    try:
        if admin_port is not None:
            from local_azure.broker.admin import start_admin  # takes long to import: AMQP clients need not wait for it

            admin = await start_admin(
                catalogue, host=host, port=admin_port, ssl_context=tls, name=broker.name, amqp=server.client
            )
            server.http = admin.protocol
        yield RunningBroker(catalogue, amqp, admin.port if admin else None, failed)
    finally:
        server.stop()
        journal.close()
        await server.cut()
        if admin is not None:
            await admin.close()


def _now() -> int:
    return time.time_ns() // 1_000_000
