"""Runs the emulator: `python -m local_azure.broker --config servicebus.json --config eventhubs.json`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import ssl
import sys
from pathlib import Path

from local_azure.broker.administration import AdministrationError
from local_azure.broker.config import ConfigError, read_config
from local_azure.broker.running import running_broker
from local_azure.broker.storage import StorageError
from local_azure.stopping import stop_on_signals, stopped_or_failed

__all__ = ["main"]


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
        prog="local-azure broker", description="Azure Service Bus and Event Hubs on this machine, over AMQP 1.0."
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
    parser.add_argument(
        "--wait-for-disk",
        action="store_true",
        help="acknowledge what the disk has (SQLite's synchronous=FULL): outlives a power cut, and is slower",
    )
    parser.add_argument("--tls-cert", type=Path, metavar="PEM", help="serve TLS with this certificate")
    parser.add_argument("--tls-key", type=Path, metavar="PEM", help="the certificate's private key")
    return parser


def _explain(error: Exception, options: argparse.Namespace) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno is not None:
        return f"{error.strerror or error} (AMQP port {options.port}, admin port {options.admin_port}): {error}"
    return str(error)


async def _serve(options: argparse.Namespace) -> None:
    declared = read_config(options.config)
    data = None if options.volatile else options.data_dir
    ports = {"port": options.port, "admin_port": options.admin_port}
    async with running_broker(
        declared, data=data, waits_for_disk=options.wait_for_disk, host=options.host, tls=_tls(options), **ports
    ) as broker:
        gc.freeze()
        gc.set_threshold(50_000, 50, 50)  # messages form no cycles: fewer collections that walk them all
        stopped = asyncio.Event()
        stop_on_signals(stopped)
        ready = f'ready amqp={broker.port} admin={broker.admin_port} ServiceBus="{broker.connection_string}"'
        print(ready, flush=True)  # noqa: T201
        await stopped_or_failed(stopped, broker.failed)


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.tls_cert, options.tls_key)
    return context


if __name__ == "__main__":
    sys.exit(main())
