"""Runs the issuer: `python -m local_azure.identity --data-dir DIR --port PORT`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
import time
from pathlib import Path

from local_azure.identity.address import IdentityAddress
from local_azure.identity.issuer import Issuer
from local_azure.identity.keys import KeyRing, make_signing_key
from local_azure.identity.registration import RegistrationError, keep, open_registration
from local_azure.identity.server import listen

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; give the exit code."""
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_serve(options.data_dir, options.port))
    except (RegistrationError, OSError) as error:
        print(f"identity: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="identity", description="An OpenID issuer and a managed identity endpoint on this machine."
    )
    parser.add_argument("--data-dir", type=Path, default=Path(".identity"), help="where its keys are kept")
    parser.add_argument("--port", type=int, default=5310, help="HTTP port, 0 for any free one")
    return parser


async def _serve(folder: Path, port: int) -> None:
    registration = open_registration(folder)
    keys = _open_keys(folder / "signing-keys.json")
    address = IdentityAddress(f"http://127.0.0.1:{port or _any_free_port()}", registration.tenant)
    server = await listen(Issuer(address, registration, keys, time.time), address.port)
    stopped = asyncio.Event()
    _stop_on_signals(stopped)
    print(f"ready identity={address.url} tenant={address.tenant}", flush=True)  # noqa: T201
    try:
        await stopped.wait()
    finally:
        await server.close()


def _open_keys(path: Path) -> KeyRing:
    def keep_keys(text: str) -> None:
        keep(path, text)

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return KeyRing([], make=make_signing_key, keep=keep_keys)
    try:
        return KeyRing.from_text(text, make=make_signing_key, keep=keep_keys)
    except ValueError:
        raise RegistrationError(f"{path} cannot be read as signing keys: remove it.") from None


def _any_free_port() -> int:
    """A port for the issuer's name, which must be known before the first request."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop_on_signals(stopped: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(name, stopped.set)
        except NotImplementedError:  # Windows: signal handlers run in the main thread instead
            signal.signal(name, lambda *_: loop.call_soon_threadsafe(stopped.set))


if __name__ == "__main__":
    sys.exit(main())
