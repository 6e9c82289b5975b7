"""Runs the emulator: `python -m local_azure.broker --config servicebus.json --config eventhubs.json`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from local_azure.broker.administration import AdministrationError
from local_azure.broker.broker import Broker
from local_azure.broker.catalogue import Catalogue
from local_azure.broker.config import ConfigError, read_config
from local_azure.broker.journal import Journal, VolatileJournal
from local_azure.broker.server import Server
from local_azure.broker.storage import Database, DurableJournal, StorageError

__all__ = ["main"]

_KEY: Final = "SAS_KEY_VALUE"
"""The official emulators' placeholder, which is no secret: every key is accepted."""


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; give the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    try:
        asyncio.run(_serve(options))
    except (ConfigError, AdministrationError, StorageError, OSError, ssl.SSLError) as error:
        print(f"emulator: {_explain(error, options)}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="emulator", description="Azure Service Bus and Event Hubs on this machine, over AMQP 1.0."
    )
    parser.add_argument(
        "--config",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="the official emulators' Config.json; once for Service Bus, once for Event Hubs",
    )
    parser.add_argument("--data-dir", type=Path, default=Path(".emulator"), help="where messages are kept")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=5672, help="AMQP port, 0 for any free one")
    parser.add_argument("--admin-port", type=int, default=5300, help="HTTP port, 0 for any free one")
    parser.add_argument("--volatile", action="store_true", help="keep everything in memory only")
    parser.add_argument("--tls-cert", type=Path, metavar="PEM", help="serve TLS with this certificate")
    parser.add_argument("--tls-key", type=Path, metavar="PEM", help="the certificate's private key")
    return parser


def _explain(error: Exception, options: argparse.Namespace) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno is not None:
        return f"{error.strerror or error} (AMQP port {options.port}, admin port {options.admin_port}): {error}"
    return str(error)


async def _serve(options: argparse.Namespace) -> None:
    declared = read_config(options.config)
    tls = _tls(options)
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[None] = loop.create_future()
    database = None if options.volatile else Database(options.data_dir)
    after_work: list[Callable[[], None]] = []

    def in_loop(action: Callable[[], None]) -> None:
        action()
        for then in after_work:
            then()

    def on_failure(error: StorageError) -> None:
        if not stopped.done():
            stopped.set_exception(error)

    def in_thread(action: Callable[[], None]) -> None:
        loop.call_soon_threadsafe(in_loop, action)

    journal: Journal = VolatileJournal()
    if database is not None:
        journal = DurableJournal(database, run_in_loop=in_thread, on_failure=on_failure, now=_now)
    broker = Broker(journal=journal, now=_now)
    catalogue = Catalogue(broker)
    if database is not None:
        catalogue.restore(database)
    catalogue.declare(declared)
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)  # messages form no cycles: fewer collections that walk them all
    server = Server(broker)
    after_work.append(server.run)
    _stop_on_signals(stopped)
    port = await server.start(options.host, options.port, tls)
    from local_azure.broker.admin import start_admin  # the HTTP stack takes long to import: AMQP clients need not wait

    admin = await start_admin(catalogue, host=options.host, port=options.admin_port, ssl_context=tls, name=broker.name)
    server.http = admin.protocol
    try:
        _announce(port, admin.port)
        await stopped
    finally:
        await server.stop()
        await admin.close()
        journal.close()


def _announce(port: int, admin_port: int) -> None:
    connection_string = (
        f"Endpoint=sb://localhost:{port};SharedAccessKeyName=RootManageSharedAccessKey;"
        f"SharedAccessKey={_KEY};UseDevelopmentEmulator=true;"
    )
    print(f'ready amqp={port} admin={admin_port} ServiceBus="{connection_string}"', flush=True)  # noqa: T201


def _now() -> int:
    return time.time_ns() // 1_000_000


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.tls_cert, options.tls_key)
    return context


def _stop_on_signals(stopped: asyncio.Future[None]) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if not stopped.done():
            stopped.set_result(None)

    for name in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(name, stop)
        except NotImplementedError:  # Windows: signal handlers run in the main thread instead
            signal.signal(name, lambda *_: loop.call_soon_threadsafe(stop))


if __name__ == "__main__":
    sys.exit(main())
