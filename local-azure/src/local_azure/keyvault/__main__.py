"""Runs the vault: `python -m local_azure.keyvault --data-dir DIR --port PORT --identity URL --tenant ID`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp

from local_azure.identity import IdentityAddress
from local_azure.keyvault.access import ROLES, Access
from local_azure.keyvault.address import VaultAddress
from local_azure.keyvault.admin import Administration
from local_azure.keyvault.authority import AuthorityError, server_context, write_bundle
from local_azure.keyvault.counters import Counters
from local_azure.keyvault.delivery import Delivery
from local_azure.keyvault.faults import Faults
from local_azure.keyvault.seeding import seed
from local_azure.keyvault.server import bind, serve_administration, serve_vault
from local_azure.keyvault.storage import Storage, StorageError
from local_azure.keyvault.throttle import Throttle
from local_azure.keyvault.tokens import NoKeys, TokenVerifier, resource_of
from local_azure.keyvault.transports import NetworkTransport
from local_azure.keyvault.vault import Vault

__all__ = ["main"]

_LIMIT: Final = 4_000
"""Requests in ten seconds: the service's limit for secrets and for 2048-bit software keys, per vault and region."""

_NEAR_EXPIRY_SECONDS: Final = 30 * 86_400
_SWEEP_SECONDS: Final = 1.0
_KEYS_TIMEOUT: Final = aiohttp.ClientTimeout(total=5)


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; give the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    try:
        access = _access(options.grant)
        throttle = Throttle(options.limit, time.monotonic)
    except ValueError as error:
        parser.error(str(error))
    try:
        asyncio.run(_serve(options, access, throttle))
    except (StorageError, AuthorityError, OSError) as error:
        print(f"keyvault: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="keyvault", description="A Key Vault on this machine, over HTTPS.")
    parser.add_argument("--data-dir", type=Path, default=Path(".keyvault"), help="where its items are kept")
    parser.add_argument("--port", type=int, default=5320, help="HTTPS port, 0 for any free one")
    parser.add_argument("--admin-port", type=int, default=0, help="HTTP port of the administration, 0 for any free one")
    parser.add_argument("--identity", required=True, metavar="URL", help="the issuer whose tokens it takes")
    parser.add_argument("--tenant", required=True, metavar="ID", help="the issuer's tenant")
    parser.add_argument(
        "--grant",
        action="append",
        default=[],
        metavar="OBJECT_ID=ROLE",
        help=f"what an identity may do, one of: {', '.join(ROLES)}; may be given many times",
    )
    parser.add_argument("--limit", type=int, default=_LIMIT, metavar="N", help="requests in ten seconds")
    parser.add_argument("--near-expiry-seconds", type=int, default=_NEAR_EXPIRY_SECONDS, metavar="N")
    parser.add_argument("--seed", action="store_true", help="make the app's secrets when they are missing")
    return parser


def _access(grants: list[str]) -> Access:
    roles: dict[str, list[str]] = {}
    for grant in grants:
        object_id, _, role = grant.partition("=")
        roles.setdefault(object_id, []).append(role)
    access = Access()
    for object_id, given in roles.items():
        access.grant(object_id, given)
    return access


async def _serve(options: argparse.Namespace, access: Access, throttle: Throttle) -> None:
    storage = Storage(options.data_dir)
    identity = IdentityAddress(options.identity, options.tenant)
    sockets = bind(options.port), bind(options.admin_port)
    url, admin_url = (f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    tls = server_context(options.data_dir)
    address = VaultAddress(f"https://{url}", f"http://{admin_url}", str(write_bundle(options.data_dir)))
    transport = NetworkTransport()
    delivery = Delivery(transport, settle=storage.settle)
    faults, counters = Faults(random.random), Counters()
    async with aiohttp.ClientSession(timeout=_KEYS_TIMEOUT) as session:
        verifier = TokenVerifier(
            identity.authority,
            (identity.first_issuer, identity.issuer),
            resource_of(address.url),
            fetch_keys=_fetching(session, identity.jwks_uri),
            now=time.monotonic,
        )
        vault = Vault(
            storage, base=address.url, verifier=verifier, access=access, throttle=throttle, now=lambda: int(time.time())
        )
        if options.seed:
            seed(vault)
        vault.deliver(delivery)
        stopped = asyncio.Event()
        _stop_on_signals(stopped)
        server = await serve_vault(vault, faults, counters, sockets[0], tls)
        admin = await serve_administration(Administration(vault, faults, counters), sockets[1])
        try:
            ready = f'ready vault={address.url} admin={address.admin_url} ca="{address.ca_bundle}"'
            print(ready, flush=True)  # noqa: T201
            await _sweep_until(stopped, lambda: vault.sweep(options.near_expiry_seconds))
        finally:
            await server.close()
            await admin.close()
            await delivery.close()
            await transport.close()
            storage.close()


async def _sweep_until(stopped: asyncio.Event, sweep: Callable[[], None]) -> None:
    while not stopped.is_set():
        sweep()
        try:
            await asyncio.wait_for(stopped.wait(), _SWEEP_SECONDS)
        except TimeoutError:
            continue


def _fetching(session: aiohttp.ClientSession, url: str) -> Callable[[], Awaitable[Mapping[str, Any]]]:
    async def fetch() -> Mapping[str, Any]:
        try:
            async with session.get(url) as answer:
                content = await answer.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise NoKeys(str(error)) from None
        if not isinstance(content, dict):
            raise NoKeys("no key set")
        return content

    return fetch


def _stop_on_signals(stopped: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(name, stopped.set)
        except NotImplementedError:  # Windows: signal handlers run in the main thread instead
            signal.signal(name, lambda *_: loop.call_soon_threadsafe(stopped.set))


if __name__ == "__main__":
    sys.exit(main())
